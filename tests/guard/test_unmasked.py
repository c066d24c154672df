"""Calls whose arguments hold tokens: the schema is held against what the tool gets, and nothing else hears of that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from fiducial import Guard
from fiducial.core.verdict import Denied, Fault
from fiducial.store.sqlite import SqliteStore

TOKEN, VALUE = "masked-payment-00000000000000000000", 4111111111111111
TOOLS = {
    "charge": {
        "effect": "reversible",
        "kind": "update",
        "parameters": {"card": {"role": "option", "schema": {"type": "integer"}}},
    }
}  # fmt: skip
PERMIT = '@id("charter/all") permit (principal, action, resource);'


@pytest.fixture
def made(make_charter: Any, tmp_path: Any) -> Any:
    charter = make_charter(PERMIT, tools=TOOLS, baseline="none")
    store = SqliteStore(tmp_path / "fiducial.db")
    yield Guard(charter, store=store).session(user="ann")
    store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert str(VALUE).encode() not in kept


def decide(session: Any, unmasked: Any, *, twin: bool) -> Any:
    if twin:
        return asyncio.run(session.adecide("charge", {"card": TOKEN}, unmasked=unmasked))
    return session.decide("charge", {"card": TOKEN}, unmasked=unmasked)


@pytest.mark.parametrize("twin", [False, True])
def test_a_value_that_fits_is_accepted_behind_its_token(made: Any, twin: bool) -> None:
    verdict = decide(made, lambda: {"card": VALUE}, twin=twin)
    assert verdict.kind == "allowed"
    [judgement] = made._pending.values()
    assert judgement.request.arguments == {"card": TOKEN}
    assert str(VALUE) not in str(judgement)
    assert judgement.request.unmasked is None


def _fails() -> Mapping[str, Any]:
    raise OSError("the vault is gone")


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize(
    "unmasked",
    [None, lambda: {"card": str(VALUE)}, lambda: {"card": TOKEN}, dict, lambda: None, _fails,
     lambda: {"card": VALUE, TOKEN: VALUE}],
)  # fmt: skip
def test_one_that_does_not_is_refused_and_not_told(made: Any, unmasked: Any, twin: bool) -> None:
    verdict = decide(made, unmasked, twin=twin)
    assert isinstance(verdict, Denied)
    assert verdict.reasons[0].fault is Fault.BAD_ARGUMENTS
    assert str(VALUE) not in str(verdict)
