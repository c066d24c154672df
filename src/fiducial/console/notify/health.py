"""How the channels do: a cell each, `notice-channel/<channel>`, that the console shows while nothing goes through."""

from __future__ import annotations

from typing import Final

import msgspec

from fiducial.core.store import Commit, Put, Store
from fiducial.oversight.cells import decode, encode

CHANNELS: Final = "notice-channel/"


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a channel does."""

    since_us: int
    """When it was first set up: what was stopped before then is no news."""
    failing_us: int = 0
    """Since when nothing has gone through; 0: it works."""
    why: str = ""


def failing(store: Store) -> dict[str, Health]:
    """The channels through which nothing goes. Raises `StoreError`."""
    found = {key.removeprefix(CHANNELS): decode(key, cell, Health) for key, cell in store.scan(CHANNELS).items()}
    return {name: health for name, health in found.items() if health.failing_us}


def retire(store: Store, channels: frozenset[str]) -> None:
    """Say no more of channels other than `channels` that they fail: they are not used any more."""
    for name, health in failing(store).items():
        if name not in channels:
            quiet = msgspec.structs.replace(health, failing_us=0, why="")
            store.commit(Commit(changes=(Put(CHANNELS + name, encode(quiet)),))).result()


__all__ = ["CHANNELS", "Health", "failing", "retire"]
