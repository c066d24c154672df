"""The one place where Cedar is asked.

The compiled entry point is called directly: the public wrapper around it copies the request, reads the whole answer
(timings included) into dicts and builds three objects, a fifth of the time of a small decision. It takes and gives the
same things, which `tests/policy/test_engine.py` holds against the public function; the dependency is pinned below the
next major version.

Whatever goes wrong inside comes back as an `Answer` that is no `Allow`: an exception, a panic of the engine, or an
answer that cannot be read.
"""

from __future__ import annotations

from typing import Any, Literal

import cedarpy
import msgspec
from cedarpy import _internal

Handle = _internal.Entities
"""Parsed entities, as the engine takes them."""


class Diagnostics(msgspec.Struct, frozen=True, gc=False):
    """Why."""

    reason: tuple[str, ...] = ()
    """Ids of the policies that determined it: every forbid that fired, else every permit that applied."""
    errors: tuple[str, ...] = ()
    """What could not be evaluated; may hold argument values, so it is never shown."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What the engine answered."""

    decision: Literal["Allow", "Deny", "NoDecision"]
    diagnostics: Diagnostics = Diagnostics()


BROKEN = Answer("NoDecision", Diagnostics(errors=("the policy engine failed",)))
"""The engine raised, or said what cannot be read."""

_read = msgspec.json.Decoder(Answer).decode
_ask = _internal.is_authorized


def ask(request: dict[str, Any], policies: cedarpy.PolicySet, entities: Handle) -> Answer:
    """The answer to `request` (dict uids, context as text); never raises but on interruption."""
    try:
        return _read(_ask(request, policies, entities))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - a panic in the engine derives from BaseException; it must deny
        return BROKEN


def entities(base: Handle, document: str) -> Handle:
    """`base` with the entities of `document` (JSON) added. Raises `ValueError`."""
    return base.with_added_json_str(document)
