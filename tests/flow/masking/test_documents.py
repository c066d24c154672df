"""JSON within texts: escapes stand before values, and within them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from masking_values import SAMPLES

from fiducial.flow.masking.documents import documents
from fiducial.flow.masking.streams import MaskStream
from fiducial.flow.masking.tokens import tokens
from fiducial.flow.masking.values import mask, restore
from fiducial.flow.masking.vault import Vault

VAULT = Vault(b"0" * 32, "one")
EVERYTHING = frozenset({"payment", "contact", "identity", "health", "credentials", "secrets"})

_TEXTS = st.lists(
    st.one_of(
        st.sampled_from([sample.text for sample in SAMPLES]),
        st.sampled_from(["\n", "\t", "\u00e9", "\u00a0", '"', "\\", " ", "{", "]", "\\n", '{"a": "\\n"}']),
        st.text(max_size=5),
    ),
    max_size=5,
).map("".join)
_KEYS = st.sampled_from(["a", "b", "pin", "4711", "password"])
_VALUES = st.recursive(
    st.one_of(
        _TEXTS,
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([4711, "4711"]),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)


def restored(text: str) -> set[Any]:
    return {restore(token, VAULT, EVERYTHING) for _, _, token in tokens(text)}


@given(_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_json_in_a_text_is_masked_as_what_it_says(value: Any, ascii_only: bool, indent: int | None) -> None:
    said = {"escaped": "\n", "said": value}
    text = json.dumps(said, ensure_ascii=ascii_only, indent=indent)
    assert json.loads(mask(text, VAULT)) == mask(said, VAULT)
    around = mask(f"It says:\n{text}\nas of today", VAULT)
    assert around == f"It says:\n{mask(text, VAULT)}\nas of today"
    assert json.loads(json.loads(mask(json.dumps(text), VAULT))) == mask(said, VAULT)


@given(_VALUES)
def test_nothing_changes_where_nothing_is_masked(value: Any) -> None:
    text = json.dumps({"said": value, "escaped": "\n"}, indent=3)
    if mask(json.loads(text), VAULT) == json.loads(text):
        assert mask(text, VAULT) == text


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.text[:30])
@pytest.mark.parametrize("before", ["\n", "x\r\n", "\t", "e\u0301\n", "<\u2028"])
def test_a_value_behind_an_escape_is_that_value(sample: Any, before: str) -> None:
    text = json.dumps({"b": f"{before}{sample.text}\n.", "c": ["\n"]})
    for whole in (text, f"Found: {text}.", json.dumps({"again": text})):
        found = mask(whole, VAULT)
        assert sample.value not in found
        assert sample.value in restored(found)
    # What is cut off is no JSON any more.
    for cut in (text[:-2], json.dumps({"again": text})[:-3]):
        found = mask(cut, VAULT)
        stream = MaskStream(VAULT)
        assert "".join(map(stream.feed, cut)) + stream.close() == found
        if json.dumps(sample.value) == f'"{sample.value}"':
            assert sample.value not in found
            assert sample.value in restored(found)


def test_letters_may_be_escaped() -> None:
    text = '{"from": "jos\\u00e9@example.org", "to": "\\u003cann@example.org\\u003e"'
    assert restored(mask(text + "}", VAULT)) == {"jos\u00e9@example.org", "ann@example.org"}
    assert restored(mask(text, VAULT)) == {"jos\\u00e9@example.org", "ann@example.org"}
    assert restored(mask(json.dumps(text + "}"), VAULT)) == {"jos\u00e9@example.org", "ann@example.org"}


def test_what_follows_an_escape_is_no_part_of_a_value() -> None:
    cut = r'{"b": "see db://app:hunter2@db.local/x\nThen'
    assert "db://app:hunter2@db.local/x" in restored(mask(cut, VAULT))


def test_a_member_may_hold_escapes_that_nobody_has_read() -> None:
    assert restored(mask({"to": r"Hello,\nann@example.org"}, VAULT)["to"]) == {"ann@example.org"}


def test_the_key_of_a_member_counts_for_that_member_alone() -> None:
    assert mask('[{"pin": "\\n"}, 4711, {"4711": "\\n"}]', VAULT) == '[{"pin": "\\n"}, 4711, {"4711": "\\n"}]'
    assert mask('{"pin": {"4711": "\\n"}}', VAULT) == '{"pin": {"4711": "\\n"}}'
    assert restored(mask('{"pin": [4711, "\\n"]}', VAULT)) == {4711}


def test_a_backslash_may_be_part_of_a_password() -> None:
    assert restored(mask(r"password: ab\ncd9efg in", VAULT)) == {r"ab\ncd9efg"}
    assert restored(mask(r"password: \nhunter22 in", VAULT)) == {"hunter22"}


def test_values_reach_over_the_ends_of_json() -> None:
    found = mask('see db://app:x["\\n"]hunter2@db.local {"a": "\\t"}', VAULT)
    assert "hunter2" not in found
    assert "app" not in found


@pytest.mark.parametrize(
    "unit", ["[", '{"a":[', '[1,"\\n"', '{"a":"\\n"} ', '"\\n', "[t", "{}[", '["\\n",4111111111111111],']
)
@pytest.mark.long
def test_time_grows_with_the_length(unit: str) -> None:
    def taken(size: int) -> float:
        text = (unit * size)[:size] + "\\n"
        start = time.thread_time()
        mask(text, Vault(b"0" * 32, "one"))
        return time.thread_time() - start

    taken(1000)
    small, large = (min(taken(size) for _ in range(2)) for size in (6_000, 48_000))
    assert large < 24 * small + 0.02


def test_json_without_escapes_is_read_as_text() -> None:
    assert documents('{"a": 1}') == []
    assert documents('x {"a": "\\t"} ["\\n"] {') == [(2, 13), (14, 20)]
