"""Names that a model tells count in facts, are masked in what tools and logs get, and stop what cannot be read."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from fiducial import Guard
from fiducial.charter.model import Charter
from fiducial.core.verdict import Denied
from fiducial.errors import CharterError
from fiducial.flow.masking import recognizer
from fiducial.flow.masking.detect import BUILT_IN
from fiducial.guard.tool import detection_of
from fiducial.store.sqlite import SqliteStore

PERMIT = '@id("charter/permit") permit (principal, action in Action::"declared", resource);'
MASK = """
@id("charter/mask") @mask("identity") forbid (principal, action == Action::"write_note", resource)
when { context.flow.classes.contains("identity") };
@id("charter/where") @reason("says where somebody is") forbid (principal, action == Action::"write_note", resource)
when { context.flow.classes.contains("location") };"""


@pytest.fixture
def made(make_charter: Any, tools: Any) -> Any:
    """Makes a charter by which notes are for the whole organization, and names in them are masked."""

    def make(model: object) -> Charter:
        note = {**tools["write_note"], "audience": "organization"}
        charter: Charter = make_charter(
            PERMIT + MASK, tools={**tools, "write_note": note}, recognize={"model": str(model)}
        )
        return charter

    return make


def test_a_name_is_masked_for_the_tool_and_the_log(made: Any, pipeline: Path, tmp_path: Path) -> None:
    got: list[Any] = []
    with SqliteStore(tmp_path / "log.db") as store:
        with Guard(made(pipeline), store=store).session(user="emma", task="Write a note") as session:
            note = {"name": "n", "text": "Ann Fox said: xoF nnA, and José Ruiz wrote `QW5uIEZveCB3YXMgaGVyZQ==`"}
            assert session.call("write_note", note, run=lambda **given: got.append(given)).status == "ok"
            verdict = session.decide("write_note", {"name": "n", "text": "back in Paris"})
        store.flush()
        log = b"".join(each.read_bytes() for each in tmp_path.glob("log.db*"))
    assert got == [{"name": "n", "text": "[identity] said: xoF nnA, and [identity] wrote `[identity]`"}]
    assert isinstance(verdict, Denied)
    assert [reason.message for reason in verdict.reasons] == ["says where somebody is"]
    for name in (b"Ann Fox", b"Ruiz"):
        assert name not in log


def test_arguments_keep_their_names(made: Any, pipeline: Path) -> None:
    with Guard(made(pipeline)).session(user="emma") as session:
        given = {"Paris": "Paris", "of Ann Fox": ["Ann"]}
        masked = session.provenance.mask(given, frozenset({"identity", "location"}))
    assert masked == {"Paris": "[location]", "of [identity]": ["[identity]"]}


def test_what_cannot_be_read_is_denied_and_not_repeated(
    made: Any, failing_pipeline: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    charter, ran = made(failing_pipeline).model_copy(), []
    about = {**dict(charter.about), "recognize": {"model": str(failing_pipeline), "entities": {"PERSON": "identity"}}}
    guard = Guard(Charter.build(type(charter.about).model_validate(about), charter.contracts, (), charter.policies))
    with caplog.at_level(logging.DEBUG), guard.session(user="emma", task="Write a note") as session:
        result = session.call("write_note", {"name": "n", "text": "Ann Fox has trouble"}, run=lambda **_: ran.append(1))
        assert session.call("write_note", {"name": "n", "text": "All is well"}, run=lambda **_: ran.append(2)).status
    assert ran == [2]
    assert isinstance(result.verdict, Denied)
    assert [reason.message for reason in result.verdict.reasons] == ["the step failed (MaskingError)"]
    assert "Ann" not in caplog.text


def test_a_guard_does_not_start_without_what_the_charter_asks_for(
    made: Any, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(made(pipeline))
    with pytest.raises(CharterError, match="the model `en_core_web_lg` is not installed"):
        guard.use(made("en_core_web_lg"))
    assert guard.charter.about.recognize == made(pipeline).about.recognize, "the old one stays in force"
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    recognizer._read.cache_clear()
    with pytest.raises(CharterError, match=r"pip install 'fiducial\[ner\]'"):
        Guard(made(pipeline))


def test_a_charter_that_asks_for_no_names_is_as_it_was(make_charter: Any) -> None:
    assert detection_of(make_charter(PERMIT)) is BUILT_IN
    assert not detection_of(make_charter(PERMIT, data_classes=["badge"])).recognizes
