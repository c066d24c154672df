"""A result that is one string of JSON is what the string says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.charter.contracts import Role
from fiducial.core.ids import SourceId
from fiducial.core.label import TRUSTED
from fiducial.flow.formats.parse import MAX_SLOW, parse, structured
from fiducial.flow.provenance import Provenance
from fiducial.flow.trace import Origin

LETTER = 'Dear customer,\n\nCar Rental\t\t\t98.70\nplease move to 12 Dalton Street\nyours, the "Ministry"\n'


def observed(text: Any) -> Provenance:
    """A session that has read `text`, which anyone may have written."""
    made = Provenance(budget=2**24)
    made.observe_result(SourceId("src_1"), text, label=TRUSTED, trusted=(), untrusted=(), prose=(), classes={})
    return made


@given(st.text(max_size=40), st.booleans(), st.booleans())
def test_a_string_of_json_is_what_it_says(text: str, ascii: bool, exact: bool) -> None:
    quoted = json.dumps(text, ensure_ascii=ascii)
    assert parse(quoted, exact=exact) == parse(text, exact=exact)
    assert parse(f" {quoted}\n", exact=exact) == parse(text, exact=exact)
    assert parse(json.dumps(quoted), exact=exact) == parse(text, exact=exact)


@pytest.mark.parametrize(
    "text", ['"Hello", she said. "Bye"', '"unclosed', '"', '"a" "b"', "'single'", '"line\n" and more', '"\\x41"']
)
def test_what_is_no_string_of_json_stays_as_it_is(text: str) -> None:
    assert parse(text) == text
    assert structured(text) == text


def test_a_key_in_quotes_is_still_yaml() -> None:
    assert structured('"sender": ann\n"id": 7\n') == {"sender": "ann", "id": "7"}


def test_structure_that_was_quoted_is_structure() -> None:
    assert structured(json.dumps(json.dumps({"id": 7}))) == {"id": 7}


def test_too_long_a_string_stays_text() -> None:
    for text in (json.dumps("x" * MAX_SLOW), f'""a": "{"x" * MAX_SLOW}"}}'):
        assert parse(text) == text
        assert structured(text) == text


def test_quoted_often_it_is_read_in_no_time() -> None:
    text = "x"
    for _ in range(12):
        text = json.dumps(text)
    assert parse(text) == "x"


@pytest.mark.parametrize("written", [LETTER, json.dumps(LETTER), json.dumps(LETTER, ensure_ascii=False)])
def test_what_stands_between_its_escapes_is_found_again(written: str) -> None:
    read = observed(written)
    assert read.trace("street", "move to 12 Dalton Street yours", Role.CONTENT).untrusted_text
    assert read.trace("subject", "Car Rental\t\t\t98.70", Role.CONTENT).origin is Origin.UNTRUSTED
    assert read.trace("amount", 98.7, Role.MAGNITUDE).origin is Origin.UNTRUSTED
    assert read.trace("to", "Ministry", Role.TARGET).origin is Origin.UNTRUSTED
