"""Coming in and going out: passwords, one-time links, the identity provider, signing out; and the pages' own files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import quote, unquote

from starlette.responses import PlainTextResponse, Response

from fiducial.console.gate import Handler
from fiducial.console.provider import Subject
from fiducial.console.render import in_words
from fiducial.console.visit import Refused, Visit, local_path
from fiducial.core.ids import PersonId
from fiducial.errors import Conflict, OversightError
from fiducial.oversight.people import UNKNOWN, Person

_WRONG = "that name and password do not belong together, or the account may not sign in"
"""One sentence for every reason, so that nobody learns which names exist."""


def health(visit: Visit) -> Response:
    """Whether the log can be read."""
    return PlainTextResponse(f"ok {visit.services.ledger.size}\n")


def static(visit: Visit) -> Response:
    """A file of the pages; it may be kept for ever, because its address changes with it."""
    found = visit.services.static.get(visit.params["name"])
    if found is None:
        raise Refused(404, "no such file")
    data, kind = found
    return Response(data, media_type=kind, headers={"Cache-Control": "public, max-age=31536000, immutable"})


def home(visit: Visit) -> Response:
    """The first page that the person may see."""
    for path in ("/waiting", "/people", "/account"):
        if visit.may(f"GET {path}"):
            return visit.go(path)
    raise AssertionError("everybody may see their account")


def sign_in_page(visit: Visit) -> Response:
    """The form."""
    return _form(visit, 200)


def sign_in(visit: Visit) -> Response:
    """Name and password."""
    services, form = visit.services, visit.form
    name, address = form.get("name", 200), visit.incoming.address
    wait = services.throttle.begin(address, name)
    if wait:
        return _form(visit, 429, f"after several failures, the next try is possible in {in_words(wait)}")
    person = PersonId(name)
    epoch = services.accounts.epoch(person) if services.people.find(person) is not None else 0
    if not services.accounts.password_fits(person, form.get("password", 1_000)):
        whom = person if services.people.find(person) is not None else UNKNOWN
        services.people.note(whom, by=whom, act="sign-in-failed")
        return _form(visit, 401, _WRONG)
    services.throttle.succeeded(address, name)
    known = services.people.find(person)
    if known is None:
        raise Refused(401, _WRONG)
    return _in(visit, known.person, services.accounts.sign_in(known.person, "password", epoch=epoch), form.get("next"))


def link_page(visit: Visit) -> Response:
    """Whom the link signs in. It is not spent by looking: programs that preview links look too."""
    throttle, address = visit.services.link_throttle, visit.incoming.address
    wait = throttle.begin(address)
    if wait:
        raise Refused(429, f"try again in {in_words(wait)}")
    person = visit.services.accounts.linked(visit.params["secret"])
    if person is None:
        return visit.page("link.html", 404, person=None, secret="")
    throttle.succeeded(address)
    return visit.page("link.html", person=person, secret=visit.params["secret"])


def follow_link(visit: Visit) -> Response:
    """Spend the link."""
    secret = visit.form.get("secret", 200)
    person = visit.services.accounts.linked(secret)
    session = visit.services.accounts.follow(secret) if person is not None else None
    if session is None or person is None:
        return visit.page("link.html", 404, person=None, secret="")
    way_in = visit.services.accounts.has_way_in(person.id)
    return _in(visit, person, session, "/" if way_in else "/account")


def to_provider(visit: Visit) -> Response:
    """Off to the identity provider."""
    provider = visit.services.provider
    if provider is None:
        raise Refused(404, "this console has no identity provider")
    way = local_path(visit.query.get("next", 1_000))
    visit.cookie(_way(visit), quote(way, safe=""), timedelta(hours=1))
    return visit.away(provider.go(visit.fresh_early_secret()))


def from_provider(visit: Visit) -> Response:
    """Back from it."""
    services, query = visit.services, visit.query
    if services.provider is None:
        raise Refused(404, "this console has no identity provider")
    if query.get("error", 200) or not query.get("code"):
        raise Refused(401, "the identity provider did not sign you in")
    subject = services.provider.answered(
        visit.early_secret, state=query.get("state"), code=query.get("code"), issuer=query.get("iss") or None
    )
    person = _whose(visit, subject)
    if person is None:
        services.people.note(UNKNOWN, by=UNKNOWN, act="sign-in-failed")
        raise Refused(
            403, "nobody here has that account; an administrator can add you, by your verified e-mail address"
        )
    way = unquote(visit.incoming.cookies.get(_way(visit), ""))
    visit.cookie(_way(visit), "", None)
    return _in(visit, person, services.accounts.sign_in(person, "provider"), way)


def sign_out(visit: Visit) -> Response:
    """End this session."""
    me = visit.me
    visit.services.accounts.end(me.key, person=me.person.id, by=me.person.id)
    visit.cookie(visit.services.cookie, "", None)
    return visit.go("/sign-in")


def _way(visit: Visit) -> str:
    """Name of the cookie that holds where somebody wanted to go before they left for the provider."""
    return visit.services.cookie + "-next"


def _form(visit: Visit, status: int, message: str = "") -> Response:
    query = visit.query.get("next", 1_000) or visit.form.get("next", 1_000)
    provider = visit.services.provider
    return visit.page(
        "sign-in.html", status, message=message, next=local_path(query), name=visit.form.get("name", 200),
        provider=provider.settings.name if provider is not None else "",
    )  # fmt: skip


def _in(visit: Visit, person: Person, session: str, path: str) -> Response:
    """Signed in: an older session in this browser ends, the new one begins."""
    accounts = visit.services.accounts
    if visit.signed is not None and visit.signed.how != "token":
        old = visit.signed
        accounts.end(old.key, person=old.person.id, by=old.person.id)
    visit.signed_in(session)
    return visit.go(local_path(path))


def _whose(visit: Visit, subject: Subject) -> Person | None:
    """Whose account the provider's subject is; bound to a person by their address the first time."""
    people, accounts = visit.services.people, visit.services.accounts
    bound = accounts.of_subject(subject.key)
    if bound is None:
        if not subject.email:
            return None
        wanted = _folded(subject.email)
        everybody = [known.person for known in people.all().values()]
        fitting = [person for person in everybody if person.active and _folded(person.email) == wanted]
        if len(fitting) != 1:
            return None
        try:
            accounts.bind_subject(fitting[0].id, subject.key)
        except (Conflict, OversightError):
            return None
        bound = fitting[0].id
    known = people.find(bound)
    return known.person if known is not None and known.person.active else None


def _folded(email: str) -> bytes:
    """An address, to compare it: letters of ASCII only are alike in both cases, as others are of other addresses."""
    return email.encode("utf-8", "surrogatepass").lower()


PAGES: Mapping[str, Handler] = {
    "GET /health": health,
    "GET /static/{name}": static,
    "GET /": home,
    "GET /sign-in": sign_in_page,
    "POST /sign-in": sign_in,
    "GET /sign-in/link/{secret}": link_page,
    "POST /sign-in/link": follow_link,
    "GET /sign-in/provider": to_provider,
    "GET /sign-in/provider/answer": from_provider,
    "POST /sign-out": sign_out,
}

__all__ = ["PAGES"]
