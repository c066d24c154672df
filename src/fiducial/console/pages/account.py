"""One's own account: password, absence, sessions, tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from starlette.responses import Response

from fiducial.console.accounts import still
from fiducial.console.gate import Handler
from fiducial.console.render import in_words
from fiducial.console.visit import Refused, Visit
from fiducial.core.ids import PersonId
from fiducial.core.store import Commit
from fiducial.errors import OversightError
from fiducial.oversight.people import CONSOLE_ROLES, Known, Person

MAX_AWAY = timedelta(days=366)


def page(visit: Visit) -> Response:
    """The account."""
    return _page(visit, 200)


def password(visit: Visit) -> Response:
    """Set a new password; whoever has one has to give it, and is slowed down like anybody who guesses.

    Not whoever came by a one-time link: it is what they were given because they have lost the password.
    """
    services, me, form = visit.services, visit.me, visit.form
    if services.accounts.account(me.person.id).password and me.how != "link":
        address = visit.incoming.address
        wait = services.throttle.begin(address, me.person.id)
        if wait:
            return _page(visit, 429, f"try again in {in_words(wait)}")
        if not services.accounts.password_fits(me.person.id, form.get("current", 1_000)):
            services.people.note(me.person.id, by=me.person.id, act="password-refused")
            return _page(visit, 403, "that is not your present password")
        services.throttle.succeeded(address, me.person.id)
    if form.get("password", 1_000) != form.get("again", 1_000):
        return _page(visit, 422, "the two new passwords differ")
    try:
        services.accounts.set_password(me.person.id, form.get("password", 1_000), by=me.person.id, keep=me)
    except OversightError as error:
        return _page(visit, 422, str(error))
    return visit.go("/account", "password")


def away(visit: Visit) -> Response:
    """Be absent until a day, and say who stands in; or be back."""
    known = _mine(visit)
    until = absence(visit, "until")
    delegate = visit.form.get("delegate", 200)
    changed = msgspec.structs.replace(
        known.person, absent_until_us=until, delegate=PersonId(delegate) if delegate else None
    )
    act = "absent" if until else "back"
    me = known.person.id
    also = Commit(preconditions=still(visit.me))
    visit.services.people.change(changed, version=version(visit), by=me, act=act, until_us=until or None, also=also)
    return visit.go("/account", "saved")


def end_session(visit: Visit) -> Response:
    """End one of one's sessions."""
    me = visit.me.person.id
    if not visit.services.accounts.end(visit.form.get("key", 64), person=me, by=me):
        raise Refused(404, "there is no such session any more")
    return visit.go("/account", "ended")


def make_token(visit: Visit) -> Response:
    """A token, shown once."""
    form = visit.form
    days = form.get("days", 4)
    if not days.isascii() or not days.isdigit():
        return _page(visit, 422, "say for how many days the token is to be valid")
    roles = frozenset(role for role in CONSOLE_ROLES if role in form.all("roles"))
    try:
        secret = visit.services.accounts.make_token(
            visit.me.person, form.get("name", 200), roles, timedelta(days=int(days)), epoch=visit.me.epoch
        )
    except OversightError as error:
        return _page(visit, 422, str(error))
    return _page(visit, 200, token=secret)


def end_token(visit: Visit) -> Response:
    """Revoke a token."""
    me = visit.me.person.id
    if not visit.services.accounts.end_token(visit.form.get("key", 64), person=me, by=me):
        raise Refused(404, "there is no such token any more")
    return visit.go("/account", "token-ended")


def absence(visit: Visit, field: str) -> int:
    """The day in a field, as the instant at which it ends; 0 when the field is empty. Raises `Refused`."""
    text = visit.form.get(field, 40)
    if not text:
        return 0
    now = visit.services.clock.unix_us()
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
        until = int(day.timestamp()) * 1_000_000
    except (ValueError, OverflowError) as error:
        raise Refused(422, "give the last day of the absence, such as 2030-12-31") from error
    if not now < until <= now + MAX_AWAY // timedelta(microseconds=1):
        raise Refused(422, "an absence ends today at the earliest, and within a year")
    return until


def version(visit: Visit) -> int:
    """The version of the person that the form was made from. Raises `Refused`."""
    text = visit.form.get("version", 20)
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refused(422, "the form does not say what it was made from; reload the page")
    return int(text)


def others(visit: Visit, person: PersonId) -> list[Person]:
    """Who could stand in for `person`."""
    everybody = visit.services.people.all().values()
    return [known.person for known in everybody if known.person.active and known.person.id != person]


def _mine(visit: Visit) -> Known:
    known = visit.services.people.find(visit.me.person.id)
    if known is None:
        raise Refused(404, "your account is gone")
    return known


def _page(visit: Visit, status: int, message: str = "", token: str = "") -> Response:
    accounts, me = visit.services.accounts, visit.me
    person = me.person.id
    return visit.page(
        "account.html", status, message=message, token=token, known=_mine(visit), others=others(visit, person),
        account=accounts.account(person), sessions=accounts.sessions(person), tokens=accounts.tokens(person),
    )  # fmt: skip


PAGES: Mapping[str, Handler] = {
    "GET /account": page,
    "POST /account/password": password,
    "POST /account/away": away,
    "POST /account/sessions/end": end_session,
    "POST /account/tokens": make_token,
    "POST /account/tokens/end": end_token,
}

__all__ = ["PAGES", "absence", "others", "version"]
