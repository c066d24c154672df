"""People: who they are, what they may do, who stands in for whom. Only for administrators; auditors look on.

What may be changed by whom is in `fiducial.console.administration`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from fiducial.console import administration
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
        roles=_roles(form), console=_console(form),
    )  # fmt: skip
    try:
        known, link = administration.invite(visit.services, person, asked=visit.me)
    except OversightError as error:
        return _listing(visit, 422, str(error))
    return _person(visit, known, 200, link=link)


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
        roles=_roles(form),
        console=_console(form),
        absent_until_us=until,
        delegate=PersonId(delegate) if delegate else None,
        active=form.get("active", 10) == "yes",
    )
    try:
        administration.change(visit.services, known.person, changed, version=version(visit), by=me, asked=visit.me)
    except OversightError as error:
        return _person(visit, known, 422, str(error))
    return visit.go(f"/people/{quoted(known.person.id)}", "saved")


def link(visit: Visit) -> Response:
    """Another one-time link, shown once."""
    known = _known(visit)
    if not known.person.active:
        raise Refused(422, "they may not sign in; make them active first")
    return _person(
        visit, known, 200, link=visit.services.link_for(known.person.id, by=visit.me.person.id, asked=visit.me)
    )


def revoke(visit: Visit) -> Response:
    """End all their sessions, tokens and links, and take their password."""
    known = _known(visit)
    visit.services.accounts.revoke(known.person.id, by=visit.me.person.id, asked=visit.me)
    return visit.go(f"/people/{quoted(known.person.id)}", "revoked")


def _known(visit: Visit) -> Known:
    known = visit.services.people.find(PersonId(visit.params["person"]))
    if known is None:
        raise Refused(404, "there is no such person")
    return known


def _console(form: Fields) -> tuple[ConsoleRole, ...]:
    return tuple(role for role in CONSOLE_ROLES if role in form.all("console"))


def _roles(form: Fields) -> tuple[str, ...]:
    return tuple(sorted(set(form.all("roles"))))


def _listing(visit: Visit, status: int, message: str = "") -> Response:
    people = [known.person for known in visit.services.people.all().values()]
    values = {name: visit.form.get(name, 300) for name in ("id", "name", "email")}
    return visit.page(
        "people.html", status, message=message, people=people, offered=administration.offered(visit.services),
        consoles=CONSOLE_ROLES, values=values, ticked=visit.form.all("roles") + visit.form.all("console"),
    )  # fmt: skip


def _person(visit: Visit, known: Known, status: int, message: str = "", link: str = "") -> Response:
    accounts, person = visit.services.accounts, known.person
    return visit.page(
        "person.html", status, message=message, known=known, link=link, offered=administration.offered(visit.services),
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
