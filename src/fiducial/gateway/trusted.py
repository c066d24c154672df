"""By whom servers elsewhere are vouched for."""

from __future__ import annotations

import ssl
from functools import cache

import httpx2


@cache
def trusted() -> ssl.SSLContext:
    """The authorities that are believed; read once, which takes longer than all the rest of making a client."""
    return httpx2.create_ssl_context()


__all__ = ["trusted"]
