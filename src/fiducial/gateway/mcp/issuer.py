"""The keys of an authorization server, fetched when they are needed and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from fiducial.core.address import is_private
from fiducial.gateway.door import Refused

log = logging.getLogger("fiducial.gateway")
KEEP: Final = 3600.0
"""Seconds that keys are kept."""
REST: Final = 10.0
"""Seconds before the issuer is asked again, whatever tokens come in: they may be anybody's."""
_TIMEOUT: Final = 10.0
_MOST: Final = 1024 * 1024
"""Bytes of what the issuer answers."""


class Issuer:
    """An authorization server, used on one event loop."""

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._clock = issuer, clock
        self._asking = asyncio.Lock()
        self._keys: KeySet | None = None
        self._fetched = self._asked = float("-inf")

    async def keys(self, *, afresh: bool = False) -> KeySet:
        """Its keys; `afresh`: what is kept lacks one. Raises `Refused` when there are none."""
        async with self._asking:
            now = self._clock()
            if (afresh or now - self._fetched > KEEP) and now - self._asked > REST:
                self._asked = now
                try:
                    self._keys = await self._fetch()
                    self._fetched = now
                except (httpx2.HTTPError, httpx2.InvalidURL, JoseError, KeyError, TypeError, ValueError) as error:
                    log.warning("the keys of `%s` cannot be fetched: %s", self._issuer, type(error).__name__)
            if self._keys is None or now - self._fetched > 2 * KEEP:
                raise Refused(503, "the authorization server's keys cannot be had; try again later")
            return self._keys

    async def _fetch(self) -> KeySet:
        async with httpx2.AsyncClient(timeout=_TIMEOUT, follow_redirects=False) as client:
            for url in _descriptions(self._issuer):
                answer = await client.get(url)
                if answer.status_code == 200:
                    described = _json(answer)
                    break
            else:
                raise ValueError("it does not describe itself")
            if described["issuer"] != self._issuer or not is_private(described["jwks_uri"]):
                raise ValueError("it calls itself by another name, or its keys are reached in the clear")
            return KeySet.import_key_set(_json((await client.get(described["jwks_uri"])).raise_for_status()))


def _descriptions(issuer: str) -> list[str]:
    """Where an issuer describes itself: RFC 8414 section 3, and OpenID Connect Discovery 1.0 section 4."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    inserted = urlunsplit((parts.scheme, parts.netloc, f"/.well-known/oauth-authorization-server{path}", "", ""))
    return [inserted, f"{issuer.rstrip('/')}/.well-known/openid-configuration"]


def _json(answer: httpx2.Response) -> Any:
    if len(answer.content) > _MOST:
        raise ValueError("it says too much")
    return answer.json()


__all__ = ["KEEP", "REST", "Issuer"]
