"""The HTTP interface about people: who they are, what they may do, and their ways in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from fiducial.console import administration
from fiducial.console.operation import Operation, body_of
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import PersonId
from fiducial.oversight.people import ConsoleRole, Known, Person


class Everybody(msgspec.Struct, frozen=True):
    """People, in order of their ids."""

    people: list[Person]


class NewPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody to make known."""

    id: str
    """As the host's own sign-in knows them."""
    name: str
    email: str = ""
    roles: list[str] = []
    """Of the charter: whose requests they answer."""
    console: list[ConsoleRole] = []
    """What they may do in the console."""


class ChangedPerson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a person; what is left out stays."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    """As they were read; when they have changed since, nothing is done."""
    name: str | None = None
    email: str | None = None
    roles: list[str] | None = None
    console: list[ConsoleRole] | None = None
    active: bool | None = None
    """False: they may sign in no more, and every session, token and link of theirs ends."""


class OneTimeLink(msgspec.Struct, frozen=True):
    """A link that signs somebody in once. It is not shown again."""

    link: str


class Ended(msgspec.Struct, frozen=True):
    """What is over."""

    ended: int
    """Sessions, tokens and links; a password is void, too."""


def everybody(visit: Visit) -> Everybody:
    return Everybody([known.person for known in visit.services.people.all().values()])


def one(visit: Visit) -> Known:
    return _known(visit)


def add(visit: Visit) -> Known:
    body = body_of(visit, NewPerson)
    person = Person(
        id=PersonId(body.id), name=body.name, email=body.email, roles=tuple(body.roles), console=tuple(body.console)
    )
    return administration.add(visit.services, person, by=visit.me.person.id, asked=visit.me)


def change(visit: Visit) -> Known:
    body, known = body_of(visit, ChangedPerson), _known(visit)
    was = known.person
    changed = msgspec.structs.replace(
        was,
        name=was.name if body.name is None else body.name,
        email=was.email if body.email is None else body.email,
        roles=was.roles if body.roles is None else tuple(body.roles),
        console=was.console if body.console is None else tuple(body.console),
        active=was.active if body.active is None else body.active,
    )
    me = visit.me
    return administration.change(visit.services, was, changed, version=body.version, by=me.person.id, asked=me)


def link(visit: Visit) -> OneTimeLink:
    known = _known(visit)
    if not known.person.active:
        raise Refused(422, "they may not sign in; make them active first")
    if visit.me.how == "token" and not set(known.person.console) <= visit.me.roles:
        raise Refused(422, "a token makes no link for somebody who has a role that the token has not; use the console")
    return OneTimeLink(visit.services.link_for(known.person.id, by=visit.me.person.id, asked=visit.me))


def revoke(visit: Visit) -> Ended:
    return Ended(visit.services.accounts.revoke(_known(visit).person.id, by=visit.me.person.id, asked=visit.me))


def _known(visit: Visit) -> Known:
    known = visit.services.people.find(PersonId(visit.params["person"]))
    if known is None:
        raise Refused(404, "there is no such person")
    return known


OPERATIONS: Mapping[str, Operation] = {
    "GET /api/v1/people": Operation(run=everybody, summary="People and their roles", gives=Everybody),
    "POST /api/v1/people": Operation(run=add, summary="Make a person known", gives=Known, takes=NewPerson, status=201),
    "GET /api/v1/people/{person}": Operation(run=one, summary="One person, and the version to change", gives=Known),
    "POST /api/v1/people/{person}": Operation(
        run=change, summary="Change a person, their roles among it", gives=Known, takes=ChangedPerson
    ),
    "POST /api/v1/people/{person}/link": Operation(
        run=link, summary="Make a link that signs a person in, once", gives=OneTimeLink, status=201
    ),
    "POST /api/v1/people/{person}/revoke": Operation(
        run=revoke, summary="End all sessions, tokens and links of a person, and void their password", gives=Ended
    ),
}
"""Method and path → what it does."""

__all__ = ["OPERATIONS"]
