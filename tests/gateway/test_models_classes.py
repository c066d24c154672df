"""Masking at the models' door by what a charter says of its data classes: their forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gateway_world import House, charter
from model_world import TALKS, Call, Gate, Talk

from fiducial.errors import CharterError
from fiducial.gateway.model.settings import read_settings

BADGE = "EMP-123456"
OWN: dict[str, Any] = {"data_classes": ("badge",), "detect": {"badge": [{"pattern": r"\bEMP-[0-9]{6}\b"}]}}
Make = Callable[..., Talk]


@pytest.fixture(params=[pytest.param((talk, stream), id=f"{talk.__name__}-{stream}") for talk, stream in zip(
    TALKS, (True, False, True), strict=True)])  # fmt: skip
def talks(request: pytest.FixtureRequest) -> Make:
    """A program that talks with a model, for each API."""
    made, stream = request.param

    def make(gate: Gate, **headers: str) -> Talk:
        return made(gate, stream=stream, **headers)

    return make


def test_a_charters_own_class_is_masked_and_restored(talks: Make, house: House) -> None:
    house.guard.use(charter(**OWN))
    gate = Gate(house, mask=["badge"])
    talk = talks(gate)
    talk.user(f"Look {BADGE} up.")
    text, calls = talk.send(f"I look {BADGE} up.", Call("look_up", {"name": BADGE}, "call_a"))
    assert text == f"I look {BADGE} up."
    assert calls == [("call_a", "look_up", {"name": BADGE})]
    talk.came("call_a", {"boss": "EMP-654321", "near": "EMP-12345"})
    talk.send("Well.")
    told = json.dumps(gate.provider.asked)
    assert BADGE not in told
    assert "EMP-654321" not in told
    assert "EMP-12345" in told
    assert "masked-badge-" in told
    assert BADGE.encode() not in house.written()


def settings(tmp_path: Path, mask: list[str], **about: Any) -> None:
    file = tmp_path / "models.yaml"
    shown = "".join(f"\n      - {each}" for each in mask)
    file.write_text(f"models:\n  gpt:\n    speaks: openai\n    url: http://127.0.0.1:1/v1\n    mask:{shown}\n")
    read_settings(file, {}, lambda _: charter(**about))


def test_a_class_that_nothing_tells_is_refused_at_the_start(tmp_path: Path) -> None:
    settings(tmp_path, ["contact", "badge"], **OWN)
    for mask, about, says in (
        (["contact", "badge"], {}, "models.yaml:7: `badge` is no data class (the classes here are `contact`, "),
        (["badg"], OWN, "models.yaml:6: `badg` is no data class (did you mean `badge`?)"),
        (["badge"], {"data_classes": ("badge",)}, "`badge` cannot be told: nothing says how it is written (add a form"),
        (["location"], {}, "models.yaml:6: `location` cannot be told"),
    ):  # fmt: skip
        with pytest.raises(CharterError) as refused:
            settings(tmp_path, mask, **about)
        assert says in str(refused.value)
