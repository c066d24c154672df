"""People: who they are, what they may do, who stands in for whom. Only for administrators; auditors look on.

Roles are given by somebody else: an administrator cannot change their own while there is another one who could.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from fiducial.charter.model import BUILT_IN_ROLES
from fiducial.console.gate import Handler
from fiducial.console.pages.account import absence, others, version
from fiducial.console.visit import Fields, Refused, Visit, quoted
from fiducial.core.ids import PersonId
from fiducial.errors import OversightError
from fiducial.oversight.people import CONSOLE_ROLES, ConsoleRole, Known, Person


def listing(visit: Visit) -> Response:
    """Everybody."""
    return _listing(visit, 200)


def add(visit: Visit) -> Response:
    """Add a person, and make the link by which they sign in the first time: shown once."""
    form = visit.form
    person = Person(
        id=PersonId(form.get("id", 200)), name=form.get("name", 200), email=form.get("email", 300),
        roles=_roles(visit, form), console=_console(form),
    )  # fmt: skip
    me = visit.me.person.id
    try:
        known = visit.services.people.add(person, by=me)
    except OversightError as error:
        return _listing(visit, 422, str(error))
    return _person(visit, known, 200, link=visit.services.link_for(known.person.id, by=me))


def page(visit: Visit) -> Response:
    """One person."""
    return _person(visit, _known(visit), 200)


def change(visit: Visit) -> Response:
    """Change a person."""
    form, known, me = visit.form, _known(visit), visit.me.person.id
    until, delegate = absence(visit, "until"), form.get("delegate", 200)
    changed = msgspec.structs.replace(
        known.person,
        name=form.get("name", 200),
        email=form.get("email", 300),
        roles=_roles(visit, form),
        console=_console(form),
        absent_until_us=until,
        delegate=PersonId(delegate) if delegate else None,
        active=form.get("active", 10) == "yes",
    )
    gives = set(changed.roles) - set(known.person.roles) or set(changed.console) - set(known.person.console)
    if known.person.id == me and gives and _another_admin(visit, me):
        return _person(visit, known, 422, "somebody else who is an administrator has to give you more roles")
    was, person = known.person, visit.services.people
    act = "revoked" if was.active and not changed.active else "changed"
    if set(was.roles) != set(changed.roles) or set(was.console) != set(changed.console):
        act = "roles" if act == "changed" else act
    try:
        person.change(changed, version=version(visit), by=me, act=act, until_us=until or None)
    except OversightError as error:
        return _person(visit, known, 422, str(error))
    if was.active and not changed.active:
        visit.services.accounts.end_all(was.id, by=me)
    return visit.go(f"/people/{quoted(was.id)}", "saved")


def link(visit: Visit) -> Response:
    """Another one-time link, shown once."""
    known = _known(visit)
    if not known.person.active:
        raise Refused(422, "they may not sign in; make them active first")
    return _person(visit, known, 200, link=visit.services.link_for(known.person.id, by=visit.me.person.id))


def revoke(visit: Visit) -> Response:
    """End all their sessions, tokens and links."""
    known = _known(visit)
    visit.services.accounts.end_all(known.person.id, by=visit.me.person.id)
    return visit.go(f"/people/{quoted(known.person.id)}", "revoked")


def _known(visit: Visit) -> Known:
    known = visit.services.people.find(PersonId(visit.params["person"]))
    if known is None:
        raise Refused(404, "there is no such person")
    return known


def _console(form: Fields) -> tuple[ConsoleRole, ...]:
    return tuple(role for role in CONSOLE_ROLES if role in form.all("console"))


def _roles(visit: Visit, form: Fields) -> tuple[str, ...]:
    """The ticked roles. Raises `Refused` for one that neither the charter nor anybody has."""
    ticked = set(form.all("roles"))
    if not ticked <= set(_offered(visit)):
        raise Refused(422, "that is not a role of the charter")
    return tuple(sorted(ticked))


def _offered(visit: Visit) -> list[str]:
    """Roles of the charter; and what people have from another charter, so that a change does not take it away."""
    theirs = {role for known in visit.services.people.all().values() for role in known.person.roles}
    return sorted({*BUILT_IN_ROLES, *visit.services.charter.about.roles} - {"user"} | theirs)


def _another_admin(visit: Visit, me: PersonId) -> bool:
    everybody = visit.services.people.all().values()
    return any("admin" in each.person.console and each.person.active and each.person.id != me for each in everybody)


def _listing(visit: Visit, status: int, message: str = "") -> Response:
    people = [known.person for known in visit.services.people.all().values()]
    values = {name: visit.form.get(name, 300) for name in ("id", "name", "email")}
    return visit.page(
        "people.html", status, message=message, people=people, offered=_offered(visit), consoles=CONSOLE_ROLES,
        values=values, ticked=visit.form.all("roles") + visit.form.all("console"),
    )  # fmt: skip


def _person(visit: Visit, known: Known, status: int, message: str = "", link: str = "") -> Response:
    accounts, person = visit.services.accounts, known.person
    return visit.page(
        "person.html", status, message=message, known=known, link=link, offered=_offered(visit),
        consoles=CONSOLE_ROLES, others=others(visit, person.id), account=accounts.account(person.id),
        sessions=accounts.sessions(person.id), tokens=accounts.tokens(person.id),
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {
    "GET /people": listing,
    "POST /people": add,
    "GET /people/{person}": page,
    "POST /people/{person}": change,
    "POST /people/{person}/link": link,
    "POST /people/{person}/revoke": revoke,
}

__all__ = ["PAGES"]
