"""Data classes: what sensitive data is called. A charter adds its own in `data_classes`."""

from __future__ import annotations

BUILT_IN_CLASSES: dict[str, str] = {
    "identity": "who a person is: names with birth dates, passport, licence and national identity numbers",
    "contact": "how to reach a person: e-mail addresses, telephone numbers, postal addresses",
    "payment": "what money moves by: card and account numbers, security codes",
    "health": "what concerns a person's health: diagnoses, treatments, insurance",
    "credentials": "what signs a person in: passwords, one-time codes, session tokens",
    "secrets": "what signs a system in: keys, certificates, connection strings",
    "location": "where a person is or was",
    "children": "anything about a child",
}
"""Name → what belongs to it."""
