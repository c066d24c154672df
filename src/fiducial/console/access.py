"""Who may do what: one line for every route there is.

A route that has no line here, or a line that has no route, keeps the console from starting. No role includes another;
a person may have several. `PUBLIC` needs no sign-in, `ANYONE` any person who is signed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fiducial.oversight.people import CONSOLE_ROLES, ConsoleRole

PUBLIC: Final[frozenset[ConsoleRole] | None] = None
ANYONE: Final = frozenset(CONSOLE_ROLES)
READERS: Final[frozenset[ConsoleRole]] = frozenset({"viewer", "approver", "operator", "auditor"})
"""Who may see what users said and what agents did: not administrators as such."""
APPROVERS: Final[frozenset[ConsoleRole]] = frozenset({"approver"})
OPERATORS: Final[frozenset[ConsoleRole]] = frozenset({"operator"})
AUDITORS: Final[frozenset[ConsoleRole]] = frozenset({"auditor"})
ADMINS: Final[frozenset[ConsoleRole]] = frozenset({"admin"})
OVERSEERS: Final[frozenset[ConsoleRole]] = frozenset({"viewer", "auditor", "admin"})
"""Who may see how well people decide: not those whose decisions they are, as such."""

ACCESS: Mapping[str, frozenset[ConsoleRole] | None] = {
    "GET /health": PUBLIC,
    "GET /static/{name}": PUBLIC,
    "GET /sign-in": PUBLIC,
    "POST /sign-in": PUBLIC,
    "GET /sign-in/link/{secret}": PUBLIC,
    "POST /sign-in/link": PUBLIC,
    "GET /sign-in/provider": PUBLIC,
    "GET /sign-in/provider/answer": PUBLIC,
    "POST /sign-out": ANYONE,
    "GET /": ANYONE,
    "GET /account": ANYONE,
    "POST /account/password": ANYONE,
    "POST /account/away": ANYONE,
    "POST /account/sessions/end": ANYONE,
    "POST /account/tokens": ANYONE,
    "POST /account/tokens/end": ANYONE,
    "GET /waiting": READERS,
    "GET /waiting/stream": READERS,
    "GET /waiting/{hold}": READERS,
    "POST /waiting/{hold}/answer": APPROVERS,
    "POST /waiting/{hold}/edit": APPROVERS,
    "POST /waiting/{hold}/class": APPROVERS,
    "POST /waiting/{hold}/appeal": READERS,
    "GET /notice/{link}": READERS,
    "GET /halt": ANYONE,
    "POST /halt": OPERATORS,
    "POST /halt/{halt}/lift": OPERATORS,
    "POST /emergency": APPROVERS,
    "POST /emergency/{grant}/review": APPROVERS | AUDITORS,
    "GET /sessions": READERS,
    "GET /sessions/{session}": READERS,
    "GET /sessions/{session}/undo": OPERATORS,
    "POST /sessions/{session}/undo": OPERATORS,
    "POST /sessions/{session}/undo/run": OPERATORS,
    "GET /events/{event}": READERS,
    "GET /events/{event}/proof": READERS,
    "GET /decisions": OVERSEERS,
    "GET /charter": ANYONE,
    "GET /pins": ANYONE,
    "POST /pins": OPERATORS,
    "GET /ledger": ANYONE,
    "GET /ledger/checkpoint": ANYONE,
    "POST /ledger/verify": AUDITORS | ADMINS,
    "GET /api/v1/openapi.json": PUBLIC,
    "GET /api/v1/requests": READERS,
    "GET /api/v1/requests/{hold}": READERS,
    "POST /api/v1/requests/{hold}/answer": APPROVERS,
    "POST /api/v1/requests/{hold}/edit": APPROVERS,
    "POST /api/v1/requests/{hold}/class": APPROVERS,
    "POST /api/v1/requests/{hold}/appeal": READERS,
    "GET /api/v1/sessions": READERS,
    "GET /api/v1/sessions/{session}": READERS,
    "POST /api/v1/sessions/{session}/undo": OPERATORS,
    "GET /api/v1/events/{event}/proof": READERS,
    "GET /api/v1/halts": ANYONE,
    "POST /api/v1/halts": OPERATORS,
    "POST /api/v1/halts/{halt}/lift": OPERATORS,
    "GET /api/v1/ledger": ANYONE,
    "GET /api/v1/decisions": OVERSEERS,
    "GET /api/v1/charter": ANYONE,
    "GET /api/v1/contracts": ANYONE,
    "GET /api/v1/policies": ANYONE,
    "GET /api/v1/people": AUDITORS | ADMINS,
    "POST /api/v1/people": ADMINS,
    "GET /api/v1/people/{person}": AUDITORS | ADMINS,
    "POST /api/v1/people/{person}": ADMINS,
    "POST /api/v1/people/{person}/link": ADMINS,
    "POST /api/v1/people/{person}/revoke": ADMINS,
    "GET /people": AUDITORS | ADMINS,
    "POST /people": ADMINS,
    "GET /people/{person}": AUDITORS | ADMINS,
    "POST /people/{person}": ADMINS,
    "POST /people/{person}/link": ADMINS,
    "POST /people/{person}/revoke": ADMINS,
}
"""Method and path → the roles of which one is needed."""


def may(roles: frozenset[ConsoleRole], route: str) -> bool:
    """Whether somebody who is signed in with `roles` may use `route`, such as `GET /people`."""
    needed = ACCESS[route]
    # People without any role may still sign out and change their own password.
    return needed is None or needed == ANYONE or bool(roles & needed)


__all__ = ["ACCESS", "ADMINS", "ANYONE", "AUDITORS", "PUBLIC", "READERS", "may"]
