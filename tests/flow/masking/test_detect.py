"""Data classes in free text, and masking."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.masking.detect import DETECTABLE, classify, find
from fiducial.flow.masking.values import mask_with


def mask(value: object, classes: frozenset[str] = DETECTABLE) -> object:
    return mask_with(value, lambda text: find(text, classes))


@pytest.mark.parametrize(
    ("text", "expected", "masked"),
    [
        ("card 4111 1111 1111 1111.", "payment", "card [payment]."),
        ("card 4111-1111-1111-1111", "payment", "card [payment]"),
        ("to GB29NWBK60161331926819!", "payment", "to [payment]!"),
        ("to GB29 NWBK 6016 1331 9268 19", "payment", "to [payment]"),
        ("ask ann.fox+x@mail.example.org.", "contact", "ask [contact]."),
        ("call +41 44 668 18 00 now", "contact", "call [contact] now"),
        ("call (415) 555-0134", "contact", "call [contact]"),
        ("SSN 536-90-4399", "identity", "SSN [identity]"),
        ("key AKIAIOSFODNN7EXAMPLE", "secrets", "key [secrets]"),
        ("ghp_" + "a1B2" * 9, "secrets", "[secrets]"),
        ("postgres://app:hunter2@db.local/x", "secrets", "[secrets]"),
        ("api_key = 'abc123def456'", "secrets", "api_key = '[secrets]'"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "secrets", "[secrets]"),
        ("password: hunter2!", "credentials", "password: [credentials]"),
        ("your one-time code is 482913.", "credentials", "your one-time code is [credentials]."),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP", "credentials", "[credentials]"),
    ],
)
def test_finds_and_masks(text: str, expected: str, masked: str) -> None:
    assert expected in classify(text)
    assert mask(text, frozenset({expected})) == masked
    assert mask(text, frozenset({"health"})) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing at all",
        "card 4111 1111 1111 1112",
        "0000 0000 0000 0000",
        "GB29NWBK60161331926818",
        "order 12345678901234",
        "version 1.2.3.4",
        "2031-05-02 10:00",
        "000-12-3456",
        "the password is required",
        "enter your pin code",
        "see eyJ",
        "pinned 1234 times",
    ],
)
def test_finds_nothing(text: str) -> None:
    assert classify(text) == frozenset()


def test_masks_inside_values_and_keys() -> None:
    value = {"to": ["ann@x.org", 4111111111111111, 7, None, True], "bob@x.org": {"n": 1.5}}
    masked = mask(value, frozenset({"contact", "payment"}))
    assert masked == {"to": ["[contact]", "[payment]", 7, None, True], "[contact]": {"n": 1.5}}


def test_overlapping_values_are_masked_once() -> None:
    text = "postgres://app:ann@x.org/db and ann@x.org"
    assert mask(text, frozenset({"secrets", "contact"})) == "[secrets] and [contact]"


def test_too_deep_is_masked_whole() -> None:
    value: object = "ann@x.org"
    for _ in range(300):
        value = [value]
    assert "ann@x.org" not in str(mask(value, frozenset({"contact"})))


@given(st.text(max_size=200))
def test_never_fails(text: str) -> None:
    for found in find(text):
        assert 0 <= found.start < found.end <= len(text)
    mask(text, classify(text))


def test_values_at_the_seams_of_long_texts_are_found_once() -> None:
    text = "x " * 32_760 + "ann@x.org " + "y " * 40_000 + "bob@x.org"
    assert [text[found.start : found.end] for found in find(text)] == ["ann@x.org", "bob@x.org"]


@pytest.mark.parametrize(
    "unit", ["4", "4 ", "a@", "+1 ", "GB29 ", "eyJa.", "-----BEGIN A PRIVATE KEY-----", "password: ", "sk-"]
)
def test_linear(unit: str) -> None:
    start = time.thread_time()
    classify((unit * 200_000)[:200_000])
    assert time.thread_time() - start < 4
