"""One request, as the pages see it, and what they answer with."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.responses import RedirectResponse, Response

from fiducial.console.access import may
from fiducial.console.accounts import Signed, digest_of
from fiducial.console.render import DONE

if TYPE_CHECKING:
    from fiducial.console.services import Services

MAX_FIELDS = 200
_LOCAL = re.compile(r"/(?:[A-Za-z0-9_-][A-Za-z0-9/_.~%?=&+-]*)?")


class Refused(Exception):
    """The request is answered with a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Fields:
    """The fields of a form or a query, as text."""

    def __init__(self, encoded: bytes | str) -> None:
        """Raises `Refused` for what is not one."""
        try:
            text = encoded.decode() if isinstance(encoded, bytes) else encoded
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
        except ValueError as error:
            raise Refused(400, "the form cannot be read") from error
        self._fields: dict[str, list[str]] = {}
        for name, value in pairs:
            self._fields.setdefault(name, []).append(value)

    def get(self, name: str, limit: int = 4_000) -> str:
        """The field, without spaces around it; empty when it is missing. Raises `Refused` when it is too long."""
        value = self._fields.get(name, [""])[-1].strip()
        if len(value) > limit:
            raise Refused(422, f"the field `{name}` is longer than {limit} characters")
        return value

    def text(self, name: str, limit: int = 4_000) -> str | None:
        """The field as it was typed, line breaks as they were before the browser changed them; `None`: it is missing.

        Raises `Refused` when it is too long.
        """
        if name not in self._fields:
            return None
        value = self._fields[name][-1].replace("\r\n", "\n")
        if len(value) > limit:
            raise Refused(422, f"the field `{name}` is longer than {limit} characters")
        return value

    def all(self, name: str) -> list[str]:
        """Every field of that name."""
        return self._fields.get(name, [])


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """What came over the wire, read and bounded."""

    method: str
    path: str
    """As asked for, for the way back after signing in."""
    params: Mapping[str, str]
    query: Fields
    headers: Mapping[str, str]
    """By lower-case name."""
    cookies: Mapping[str, str]
    body: bytes
    address: str


class Visit:
    """One request."""

    def __init__(self, services: Services, route: str, incoming: Incoming) -> None:
        self.services = services
        self.route = route
        """Method and path pattern, the key of the access table."""
        self.incoming = incoming
        self.params = incoming.params
        self.query = incoming.query
        self.form = Fields(b"")
        self.signed: Signed | None = None
        self._cookies: list[tuple[str, str, timedelta | None]] = []
        self._secret = incoming.cookies.get(services.cookie, "")
        self._early = incoming.cookies.get(services.early_cookie, "")

    @property
    def me(self) -> Signed:
        """Who is signed in; the gate has seen to it that somebody is."""
        if self.signed is None:
            raise Refused(401, "sign in first")
        return self.signed

    @property
    def may(self) -> Callable[[str], bool]:
        """For templates: whether this person may use a route."""
        roles = self.signed.roles if self.signed is not None else frozenset()
        return lambda route: self.signed is not None and may(roles, route)

    # --- cookies and the token of forms

    @property
    def session_secret(self) -> str:
        """What the session cookie holds; empty when there is none."""
        return self._secret

    @property
    def early_secret(self) -> str:
        """What ties a browser to its forms before it is signed in; made when first needed."""
        if len(self._early) < 43:
            self._early = secrets.token_urlsafe(32)
            self.cookie(self.services.early_cookie, self._early, timedelta(hours=1))
        return self._early

    def fresh_early_secret(self) -> str:
        """A new one, whatever the browser had."""
        self._early = ""
        return self.early_secret

    @property
    def csrf(self) -> str:
        """What forms have to bring: derived from the cookie that no other site can read."""
        return digest_of("fiducial/console/form\0" + (self._secret if self.signed is not None else self.early_secret))

    def csrf_fits(self) -> bool:
        """The form brought it."""
        if self.signed is None and len(self._early) < 43:
            return False
        return hmac.compare_digest(self.form.get("csrf").encode(), self.csrf.encode())

    def cookie(self, name: str, value: str, lifetime: timedelta | None) -> None:
        """Set a cookie with the answer; `None` deletes it."""
        self._cookies.append((name, value, lifetime))

    def signed_in(self, secret: str) -> None:
        """The answer carries a new session."""
        self.cookie(self.services.cookie, secret, self.services.settings.lifetime)
        self.cookie(self.services.early_cookie, "", None)

    # --- answers

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page."""
        done = next((DONE[each] for each in self.query.all("done") if each in DONE), "")
        text = self.services.render(template, visit=self, done=done, **values)
        return self.finish(Response(text, status, media_type="text/html"))

    def go(self, path: str, done: str = "") -> Response:
        """Go on to a page of this console, with a notice of what was done."""
        return self.finish(RedirectResponse(f"{path}?done={done}" if done else path, 303))

    def away(self, url: str) -> Response:
        """Go on to another site: only ever the identity provider."""
        return self.finish(RedirectResponse(url, 303))

    def finish(self, response: Response) -> Response:
        """`response` with the cookies that were set."""
        secure = self.services.secure
        for name, value, lifetime in self._cookies:
            response.set_cookie(
                name,
                value,
                max_age=0 if lifetime is None else int(lifetime.total_seconds()),
                path="/",
                secure=secure,
                httponly=True,
                samesite="lax",
            )
        return response


def local_path(text: str) -> str:
    """`text` when it is a path of this console, else `/`."""
    return text if len(text) <= 500 and _LOCAL.fullmatch(text) else "/"


def quoted(text: str) -> str:
    """`text` as one step of a path."""
    return quote(text, safe="")


__all__ = ["Fields", "Incoming", "Refused", "Visit", "local_path", "quoted"]
