"""The keys of an authorization server, fetched when they are needed and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import httpx2
from joserfc.jwk import KeySet

from fiducial.core.address import is_private
from fiducial.gateway.door import Refused
from fiducial.gateway.statements import is_short
from fiducial.gateway.trusted import trusted

log = logging.getLogger("fiducial.gateway")
KEEP: Final = 3600.0
"""Seconds that keys are kept."""
REST: Final = 10.0
"""Seconds after it was asked before the issuer is asked again, whatever tokens come in: they may be anybody's."""
TIMEOUT: Final = 10.0
"""Seconds for all that the issuer is asked at once."""
_MOST: Final = 1024 * 1024
"""Bytes of what the issuer answers."""


class Issuer:
    """An authorization server, used on one event loop."""

    def __init__(self, issuer: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer, self._clock = issuer, clock
        self._asking: asyncio.Task[None] | None = None
        self._keys: KeySet | None = None
        self._fetched = self._asked = float("-inf")

    async def keys(self, *, afresh: bool = False) -> KeySet:
        """Its keys; `afresh`: what is kept lacks one. Who asks for what is kept waits for nobody.

        Raises `Refused` when there are none.
        """
        if afresh or self._age > KEEP:
            asking = self._ask()
            if asking is not None and (afresh or self._age > 2 * KEEP):
                await asyncio.shield(asking)
        if self._keys is None or self._age > 2 * KEEP:
            raise Refused(503, "the authorization server's keys cannot be had; try again later")
        return self._keys

    @property
    def _age(self) -> float:
        """Seconds since the keys that are kept were fetched."""
        return self._clock() - self._fetched

    def _ask(self) -> asyncio.Task[None] | None:
        """What asks the issuer, one at a time; `None` when it was asked a moment ago."""
        if self._asking is None and self._clock() - self._asked > REST:
            self._asking = asyncio.create_task(self._refresh())
        return self._asking

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                self._keys = await self._fetch()
            self._fetched = self._clock()
        except Exception as error:  # noqa: BLE001 - whatever it answers, what is kept stays
            log.warning("the keys of `%s` cannot be fetched: %s", self._issuer, type(error).__name__)
        finally:
            self._asked, self._asking = self._clock(), None

    async def _fetch(self) -> KeySet:
        async with httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=False, verify=trusted()) as client:
            described = await self._description(client)
            if described.get("issuer") != self._issuer or not is_private(described["jwks_uri"]):
                raise ValueError("it calls itself by another name, or its keys are reached in the clear")
            found = _json((await client.get(described["jwks_uri"])).raise_for_status())["keys"]
            return KeySet.import_key_set({"keys": [key for key in found if not is_short(key)]})

    async def _description(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        for url in _descriptions(self._issuer):
            answer = await client.get(url)
            try:
                described = _json(answer) if answer.status_code == 200 else None
            except ValueError:
                continue  # a page for people
            if isinstance(described, dict):
                return described
        raise ValueError("it does not describe itself")


def _descriptions(issuer: str) -> list[str]:
    """Where an issuer describes itself, in the order of MCP 2025-11-25 (basic/authorization, authorization server
    metadata discovery): RFC 8414 section 3, OpenID Connect Discovery 1.0 with the path inserted and appended."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    named = [f"/.well-known/oauth-authorization-server{path}", f"/.well-known/openid-configuration{path}"]
    if path:
        named.append(f"{path}/.well-known/openid-configuration")
    return [urlunsplit((parts.scheme, parts.netloc, each, "", "")) for each in named]


def _json(answer: httpx2.Response) -> Any:
    if len(answer.content) > _MOST:
        raise ValueError("it says too much")
    return answer.json()


__all__ = ["KEEP", "REST", "TIMEOUT", "Issuer"]
