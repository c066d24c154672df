"""Webhooks by the Standard Webhooks specification, and what all channels over HTTP have in common.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

What is signed is `id.timestamp.body`, with HMAC-SHA256. Several secrets make several signatures, in the order given,
so that a receiver can change to a new one while the old one still counts. The id is the same at every attempt: a
receiver that keeps it recognizes what it has had already.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping, Sequence

import httpx2

from fiducial.console.notify.channels import Outcome
from fiducial.console.notify.message import Message
from fiducial.core.clock import Clock
from fiducial.gateway.trusted import trusted

TIMEOUT = 10.0
"""Seconds for each of connecting, sending and being answered."""
_AGAIN = frozenset({408, 425, 429})
"""Of the 4xx, those after which the same may go through later: RFC 9110 section 15.5.9, RFC 8470, RFC 6585."""
_MAX_AFTER = 3600.0


def signature(secret: bytes, id: str, at_s: int, body: bytes) -> str:
    """One signature of the header `webhook-signature`; `at_s`: seconds since 1970 UTC."""
    mac = hmac.new(secret, f"{id}.{at_s}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}"


class Webhook:
    """One address that is told in JSON, signed."""

    kind = "webhook"
    people = False

    def __init__(self, name: str, url: str, secrets: Sequence[bytes], clock: Clock) -> None:
        self.name = name
        self._url, self._secrets, self._clock = url, tuple(secrets), clock
        self._client = client()

    def send(self, message: Message, to: Sequence[str] = ()) -> Outcome:
        """See `Channel.send`."""
        at, body = self._clock.unix_us() // 1_000_000, message.json()
        signed = " ".join(signature(secret, message.id, at, body) for secret in self._secrets)
        headers = {"webhook-id": message.id, "webhook-timestamp": str(at), "webhook-signature": signed}
        return post(self._client, self._url, body, headers)

    def close(self) -> None:
        """See `Channel.close`."""
        self._client.close()


def client() -> httpx2.Client:
    """A client that follows nobody elsewhere."""
    # At INFO it logs every address, and that of a channel may be its secret.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return httpx2.Client(timeout=TIMEOUT, follow_redirects=False, verify=trusted())


def post(client: httpx2.Client, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send JSON, and look at the status alone: what the other side wrote is not read."""
    sent = {"content-type": "application/json; charset=utf-8", "user-agent": "fiducial", **headers}
    try:
        with client.stream("POST", url, content=body, headers=sent) as response:
            status, after = response.status_code, response.headers.get("retry-after", "")
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
        return Outcome("later", f"it cannot be reached ({type(error).__name__})")
    said = f"it answered {status}"
    if 200 <= status < 300:
        return Outcome("sent", said)
    if 300 <= status < 400:
        return Outcome("failed", f"{said}, which leads elsewhere; redirects are not followed")
    if 400 <= status < 500 and status not in _AGAIN:
        return Outcome("failed", said)
    return Outcome("later", said, min(float(after), _MAX_AFTER) if after.isascii() and after.isdigit() else 0.0)


__all__ = ["TIMEOUT", "Webhook", "client", "post", "signature"]
