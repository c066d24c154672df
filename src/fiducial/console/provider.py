"""Signing in through an identity provider: OpenID Connect, authorization code flow with PKCE.

The browser is given one random secret in a cookie before it leaves for the provider; `state`, `nonce` and the PKCE
verifier are three hashes of it. So nothing has to be kept here for people who never come back, nothing can be mixed up
between two of them, and the answer counts only in the browser that asked.

Who somebody is, is the provider's issuer and subject. The first time, they are matched with a person by e-mail address,
which the provider must say is verified; from then on by issuer and subject alone, because addresses are handed on.
Nobody is made a person, and no role is given, by signing in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import Any

import httpx2
import msgspec
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from fiducial.core.address import is_private
from fiducial.core.clock import Clock
from fiducial.errors import OversightError
from fiducial.gateway.trusted import trusted

CALLBACK = "/sign-in/provider/answer"
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
"""By which an ID token may be signed; never `none`, never by a secret that is shared."""
_TIMEOUT = 10.0
_LEEWAY = 120
"""Seconds by which the provider's clock may differ."""
_KEEP_SECONDS = 3600.0
"""How long the provider's description and keys are kept."""
_REST_SECONDS = 5.0
"""How long a provider that could not be reached is not asked again."""
AT_ONCE = 8
"""How many requests may wait for the provider: signing in otherwise, and all other pages, go on while it hangs."""
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One identity provider."""

    issuer: str
    """Its issuer, https unless it is on this machine."""
    client_id: str
    client_secret: str
    name: str = "your organization"
    """What the sign-in page calls it."""


class Subject(msgspec.Struct, frozen=True):
    """Who the provider says it is."""

    key: str
    """Hash of issuer and subject."""
    email: str
    """Empty unless the provider says that it is verified."""


class Provider:
    """An identity provider. Usable from any thread."""

    def __init__(self, settings: ProviderSettings, *, redirect_to: str, clock: Clock) -> None:
        """`redirect_to`: address of `CALLBACK`, as registered at the provider. Raises `OversightError`."""
        _secure(settings.issuer)
        self.settings = settings
        self._redirect_to = redirect_to
        self._clock = clock
        self._room = BoundedSemaphore(AT_ONCE)
        self._fetching = Lock()
        """Held by the one who fetches; what was fetched is read without it."""
        self._described: tuple[float, dict[str, Any], KeySet] | None = None
        self._failed: tuple[float, str] | None = None

    def go(self, secret: str) -> str:
        """Where to send a browser that holds `secret`. Raises `OversightError` when the provider cannot be reached."""
        with self._slot():
            described, _ = self._description()
        with self._client() as client:
            url, _ = client.create_authorization_url(
                described["authorization_endpoint"],
                state=_derived("state", secret),
                nonce=_derived("nonce", secret),
                code_verifier=_derived("verifier", secret),
            )
        return str(url)

    def answered(self, secret: str, *, state: str, code: str, issuer: str | None) -> Subject:
        """Who came back with `code` in the browser that holds `secret`. Raises `OversightError`.

        `issuer`: the answer's `iss` (RFC 9207), when it has one.
        """
        if state != _derived("state", secret):
            raise OversightError("this answer belongs to another sign-in; begin again")
        if issuer is not None and issuer != self.settings.issuer:
            raise OversightError("this answer is from another identity provider")
        with self._slot():
            claims = self._fetched_claims(secret, code)
        subject = str(claims["sub"])
        verified = claims.get("email_verified") is True
        return Subject(
            key=hashlib.sha256(f"{self.settings.issuer}\0{subject}".encode()).hexdigest(),
            email=str(claims.get("email", "")) if verified else "",
        )

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """A place among those who wait for the provider. Raises `OversightError` when there is none."""
        if not self._room.acquire(blocking=False):
            raise OversightError("many people are signing in through the identity provider; try again in a moment")
        try:
            yield
        finally:
            self._room.release()

    def _fetched_claims(self, secret: str, code: str) -> CodeIDToken:
        described, keys = self._description()
        try:
            with self._client() as client:
                token = client.fetch_token(
                    described["token_endpoint"], code=code, code_verifier=_derived("verifier", secret)
                )
            given = str(token["id_token"]), str(token["access_token"])
            try:
                return self._claims(*given, secret, keys)
            except InvalidKeyIdError:
                # The provider has changed its keys since they were fetched.
                self._described = None
                return self._claims(*given, secret, self._description()[1])
        except (AuthlibBaseError, JoseError, httpx2.HTTPError, KeyError, ValueError) as error:
            raise OversightError(f"the identity provider's answer does not hold ({type(error).__name__})") from error

    def _claims(self, id_token: str, access_token: str, secret: str, keys: KeySet) -> CodeIDToken:
        registry = JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
        decoded = jwt.decode(id_token, key=keys, registry=registry)
        settings = self.settings
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": settings.issuer},
                "aud": {"essential": True, "value": settings.client_id},
            },
            {"nonce": _derived("nonce", secret), "client_id": settings.client_id, "access_token": access_token},
        )
        claims.validate(now=self._clock.unix_us() // 1_000_000, leeway=_LEEWAY)
        if not claims["sub"] or not isinstance(claims["sub"], str):
            raise ValueError("no subject")
        return claims

    def _description(self) -> tuple[dict[str, Any], KeySet]:
        """The provider's metadata and keys, fetched when they are not known or old."""
        known = self._kept()
        if known is not None:
            return known
        with self._fetching:
            # Another one may have fetched them, or failed to, while this one waited.
            known = self._kept()
            if known is not None:
                return known
            if self._failed is not None and self._clock.monotonic() - self._failed[0] < _REST_SECONDS:
                raise OversightError(self._failed[1])
            try:
                found = self._fetched()
            except OversightError as error:
                self._failed = self._clock.monotonic(), str(error)
                raise
            self._described = (self._clock.monotonic(), *found)
            return found

    def _kept(self) -> tuple[dict[str, Any], KeySet] | None:
        known = self._described
        return None if known is None or self._clock.monotonic() - known[0] > _KEEP_SECONDS else known[1:]

    def _fetched(self) -> tuple[dict[str, Any], KeySet]:
        issuer = self.settings.issuer
        try:
            with httpx2.Client(timeout=_TIMEOUT, follow_redirects=False, verify=trusted()) as client:
                described = (
                    client.get(issuer.rstrip("/") + "/.well-known/openid-configuration").raise_for_status().json()
                )
                if described["issuer"] != issuer:
                    raise OversightError(
                        "the identity provider calls itself by another issuer than the one that was given"
                    )
                for name in _ENDPOINTS:
                    _secure(described[name])
                keys = KeySet.import_key_set(client.get(described["jwks_uri"]).raise_for_status().json())
        except (httpx2.HTTPError, httpx2.InvalidURL, JoseError, KeyError, TypeError, ValueError) as error:
            raise OversightError(f"the identity provider cannot be reached ({type(error).__name__})") from error
        return described, keys

    def _client(self) -> OAuth2Client:
        settings = self.settings
        return OAuth2Client(
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            scope="openid email",
            redirect_uri=self._redirect_to,
            code_challenge_method="S256",
            timeout=_TIMEOUT,
        )


def _derived(what: str, secret: str) -> str:
    """64 hexadecimal digits, which is within what RFC 7636 section 4.1 allows a verifier."""
    return hashlib.sha256(f"fiducial/console/{what}\0{secret}".encode()).hexdigest()


def _secure(url: str) -> None:
    if not is_private(url):
        raise OversightError("an identity provider is reached over https, unless it is on this machine")


__all__ = ["AT_ONCE", "CALLBACK", "Provider", "ProviderSettings", "Subject"]
