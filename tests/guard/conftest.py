"""One small charter for the guard's tests: a mailbox, a bank, files and the web."""

from __future__ import annotations

from typing import Any

import pytest

from fiducial.charter.contracts import Contract
from fiducial.charter.model import About, Charter, Owners, PolicySource
from fiducial.core.canonical import digest

PERMIT = '@id("charter/permit-declared") permit (principal, action in Action::"declared", resource);'

TOOLS: dict[str, dict[str, Any]] = {
    "read_file": {
        "effect": "read",
        "kind": "read",
        "parameters": {"path": {"role": "option"}},
        "asked_by": ["read", "file"],
    },
    "list_payees": {
        "effect": "read",
        "kind": "read",
        "output": {"trusted": ["$[*].account", "$[*].name"], "classes": {"payment": ["$[*].account"]}},
    },
    "get_page": {
        "effect": "read",
        "kind": "fetch",
        "parameters": {"url": {"role": "target", "entity": "url"}},
        "asked_by": ["visit", "page", "website"],
    },
    "send_money": {
        "effect": "irreversible",
        "kind": "pay",
        "audience": "third_party",
        "parameters": {
            "recipient": {"role": "target", "entity": "account"},
            "amount": {"role": "magnitude", "unit": "EUR", "schema": {"type": "number"}},
            "subject": {"role": "content", "required": False},
        },
        "cost": "amount",
        "asked_by": ["pay", "send money", "transfer", "refund"],
    },
    "send_email": {
        "effect": "irreversible",
        "kind": "send",
        "audience": "third_party",
        "parameters": {
            "to": {"role": "target", "entity": "email", "schema": {"type": "array", "items": {"type": "string"}}},
            "body": {"role": "content"},
        },
        "asked_by": ["email", "send", "write to"],
    },
    "write_note": {
        "effect": "reversible",
        "kind": "create",
        "parameters": {"name": {"role": "target"}, "text": {"role": "content"}},
        "asked_by": ["note", "write"],
    },
    "read_note": {
        "effect": "read",
        "kind": "read",
        "parameters": {"name": {"role": "option"}},
        "output": {"trusted": ["$.account", "$.text"]},
        "asked_by": ["read note"],
    },
}


def charter(policies: str = PERMIT, *, tools: dict[str, dict[str, Any]] | None = None, **about: Any) -> Charter:
    """A charter over `TOOLS` with `policies`."""
    about.setdefault("baseline", "balanced")
    written = About(agent="bot", owners=Owners(responsible="r", accountable="a"), **about)
    contracts = {name: Contract.model_validate(value) for name, value in (TOOLS if tools is None else tools).items()}
    sources = (PolicySource(file="policies/main.cedar", text=policies),)
    content = [written.model_dump(mode="json"), {n: c.model_dump(mode="json") for n, c in contracts.items()}, policies]
    return Charter(about=written, contracts=contracts, policies=sources, digest=digest(content))


@pytest.fixture(scope="session")
def make_charter() -> Any:
    return charter


@pytest.fixture
def tools() -> dict[str, dict[str, Any]]:
    return TOOLS
