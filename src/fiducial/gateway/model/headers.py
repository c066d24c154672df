"""What goes to a provider and comes back beside the bodies: headers, and parameters of the address.

Nobody masks them, so only those that are known go along, and only as names of versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlencode

import httpx2

from fiducial.gateway.refusals import Refused

Headers: TypeAlias = list[tuple[bytes, bytes]]
_TO_PROVIDER: Final = (b"anthropic-beta", b"anthropic-version", b"openai-beta")
"""Headers that go along: which version of an API is spoken. Not whose account it is or what the client is, nor by which
name a request is answered only once: all that come in here share one account."""
_QUERY: Final = ("after_id", "api-version", "before_id", "beta", "limit")
"""Parameters that go along."""
_VERSIONS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:=v?[0-9]{1,4})?")
"""How versions are written; and names of the provider's models, in its lists."""
_NOT_BACK: Final = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "set-cookie",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "date",
        "server",
    ]
)


def at(url: str, path: str, query: bytes, holds: Callable[[str], bool]) -> str:
    """Where a request goes. Raises `Refused` for a query that is not known, or `holds` a value that is masked."""
    address = f"{url.rstrip('/')}/{path}"
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    for name, value in given:
        if name not in _QUERY or not _is_version(value, holds):
            raise Refused(400, f"the query is not passed on: it can hold {', '.join(f'`{each}`' for each in _QUERY)}")
    return f"{address}?{urlencode(given)}" if given else address


def along(headers: Headers, key: Headers, holds: Callable[[str], bool]) -> Headers:
    """What goes along with a request, with the gateway's own `key`. Raises `Refused` for what is no version, or
    `holds` a value that is masked."""
    kept = [(name, value) for name, value in headers if name in _TO_PROVIDER]
    for name, value in kept:
        if not all(_is_version(each.strip(), holds) for each in value.decode("latin-1").split(",")):
            raise Refused(400, f"`{name.decode()}` names versions of an API, and nothing else")
    # Compressed, a stream would come in larger pieces.
    fixed = [(b"content-type", b"application/json"), (b"accept-encoding", b"identity"), (b"user-agent", b"fiducial")]
    return [*kept, *fixed, *key]


def _is_version(text: str, holds: Callable[[str], bool]) -> bool:
    return _VERSIONS.fullmatch(text) is not None and not holds(text)


def back(response: httpx2.Response) -> Headers:
    """What comes back to the client."""
    return [(name.lower(), value) for name, value in response.headers.raw if name.lower().decode() not in _NOT_BACK]


__all__ = ["Headers", "along", "at", "back"]
