"""The one place where Cedar is asked."""

from __future__ import annotations

from typing import Any

import cedarpy
import pytest

from fiducial.policy import engine

POLICIES = cedarpy.PolicySet.from_str(
    "permit(principal, action, resource) when { context.n != 3 };"
    "forbid(principal, action, resource) when { context.n * 9223372036854775807 > 5 && context.n == 2 };"
    "forbid(principal, action, resource) when { context.n == 1 };"
)
ENTITIES = cedarpy.Entities.from_json_str("[]")
HANDLE = engine.Handle.from_json_str("[]")


def request(context: Any) -> dict[str, Any]:
    uid = {"type": "User", "id": "u"}
    return {"principal": uid, "action": {"type": "Action", "id": "a"}, "resource": uid, "context": context}


@pytest.mark.parametrize("context", ['{"n":0}', '{"n":1}', '{"n":2}', '{"n":3}', "{}", '{"n":null}', "[", '{"n":98.7}'])
def test_answers_as_the_public_function_does(context: str) -> None:
    public = cedarpy.is_authorized(request(context), POLICIES, ENTITIES)
    answer = engine.ask(request(context), POLICIES, HANDLE)
    assert answer.decision == public.decision.value
    assert sorted(answer.diagnostics.reason) == sorted(public.diagnostics.reasons)
    assert list(answer.diagnostics.errors) == public.diagnostics.errors


class Panic(BaseException):
    """As a panic of the engine: not an `Exception`."""


@pytest.mark.parametrize("raised", [ValueError, RuntimeError, MemoryError, Panic])
def test_whatever_the_engine_raises_is_no_permission(raised: type[BaseException], monkeypatch: Any) -> None:
    def fail(*_: Any) -> str:
        raise raised("secret")

    monkeypatch.setattr(engine, "_ask", fail)
    assert engine.ask(request("{}"), POLICIES, HANDLE) is engine.BROKEN


@pytest.mark.parametrize("said", ["", "{}", "Allow", '{"decision":"Perhaps"}', '{"decision":"Allow","diagnostics":1}'])
def test_what_cannot_be_read_is_no_permission(said: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "_ask", lambda *_: said)
    assert engine.ask(request("{}"), POLICIES, HANDLE).decision == "NoDecision"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_interruptions_pass(interruption: type[BaseException], monkeypatch: Any) -> None:
    def fail(*_: Any) -> str:
        raise interruption

    monkeypatch.setattr(engine, "_ask", fail)
    with pytest.raises(interruption):
        engine.ask(request("{}"), POLICIES, HANDLE)


def test_a_lone_surrogate_is_no_permission() -> None:
    assert engine.ask(request('{"n":"\ud800"}'), POLICIES, HANDLE) is engine.BROKEN
