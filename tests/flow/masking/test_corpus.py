"""Generated values with right check digits, and near misses; and what the detectors take for granted."""

from __future__ import annotations

import time

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from masking_values import SAMPLES

from fiducial.flow.masking import phones
from fiducial.flow.masking.accounts import card, iban, luhn
from fiducial.flow.masking.detect import _SCREEN, DETECTORS, classify, find
from fiducial.flow.masking.detector import LONGEST_ROW, Found
from fiducial.flow.masking.values import mask_with
from masking_corpus import KINDS, corpus

CORPUS = corpus(seed=7, each=25)


def test_a_card_that_could_be_a_french_number_is_a_card() -> None:
    assert classify("card 346999434047631") == {"payment"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_found_whole_and_few_near_misses(kind: str) -> None:
    wrong = 0
    for each in (each for each in CORPUS if each.kind == kind):
        there = [found for found in find(each.text) if found.start < each.end and each.start < found.end]
        if each.data_class is None:
            wrong += bool(there)
        else:
            assert Found(each.start, each.end, each.data_class) in there, each.text[each.start : each.end]
    assert wrong <= 5, "part of a near miss may pass for another number, rarely"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.text[:30])
def test_samples_are_found_as_what_they_are(sample: object) -> None:
    text = f"x {sample.text} y"  # type: ignore[attr-defined]
    at = text.index(sample.value)  # type: ignore[attr-defined]
    assert Found(at, at + len(sample.value), sample.data_class) in find(text)  # type: ignore[attr-defined]


_MIXED = st.lists(
    st.one_of(st.sampled_from([each.text for each in SAMPLES]), st.text("0123456789 -/().+@aZ:=é4", max_size=12)),
    max_size=5,
).map("".join)


@given(_MIXED)
def test_screens_hide_nothing(text: str) -> None:
    """What each detector finds when it is tried at every character of the text, it finds behind its screen."""
    screened = find(text)
    hit = {index for index, _ in _SCREEN.hits(text.encode("ascii", "replace"))}
    for index, detector in enumerate(DETECTORS):
        for start in range(len(text)):
            match = detector.find.match(text, start)
            value = detector.judge(match) if match is not None else None
            if value is not None:
                assert index in hit
                assert any(each.start <= value.start and value.end <= each.end for each in screened), value


@pytest.mark.parametrize("region", ["US", "GB", "DE", "FR", "IN", "CH", "IT", "JP", "KE", "MX", "NZ"])
def test_telephone_numbers_are_those_of_phonenumbers(region: str) -> None:
    for kind in phonenumbers.PhoneNumberType.values():
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None or not phonenumbers.is_valid_number(number):
            continue
        for last in range(0, 100, 7):
            text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[:-2] + f"{last:02}"
            expected = phonenumbers.is_valid_number(phonenumbers.parse(text))
            assert phones.international(text[1:]) == expected, text


@given(st.text("0123456789", min_size=1, max_size=20))
def test_luhn_is_the_standard(digits: str) -> None:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + index % 2)
        total += value - 9 * (value > 9)
    assert luhn(digits) == (total % 10 == 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("GB29NWBK60161331926819", 22),
        ("GB29 NWBK 6016 1331 9268 19 now", 27),
        ("GB29NWBK60161331926818", 0),
        ("GB29NWBK6016133192681", 0),
        ("ZZ29NWBK60161331926819", 0),
        ("DE29NWBK601613319268190", 0),
        ("GB29NWBK60161331926819X", 0),
    ],
)
def test_ibans(text: str, size: int) -> None:
    assert iban(text) == size


def test_one_pair_of_check_digits_is_right() -> None:
    assert [check for check in range(2, 99) if iban(f"GB{check:02}NWBK60161331926819")] == [29]


def test_a_card_of_no_issuer_counts_where_it_is_named() -> None:
    assert not card("9000000000000001"[:15] + "9")
    number = next(f"900000000000000{last}" for last in range(10) if luhn(f"900000000000000{last}"))
    assert classify(f"order {number}") == frozenset()
    assert classify(f"gift card {number}") == {"payment"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("４１１１ １１１１ １１１１ １１１１", "[payment]"),
        ("4111\u00a01111\u00a01111\u20111111", "[payment]"),
        ("٠٢٠ 7946 0958", "[contact]"),
        ("DB_PASSWORD=hunter2x", "DB_PASSWORD=[credentials]"),
        ('{"password": "hunter2x"}', '{"password": "[credentials]"}'),
        ("4111 1111 1111 1111 123", "[payment] 123"),
        ("12 4111 1111 1111 1111-12/27", "12 [payment]-12/27"),
        ("(4111111111111111)", "([payment])"),
        ("(4111-1111-1111-1111)", "([payment])"),
        ("card(4111 1111 1111 1111) 5", "card([payment]) 5"),
        ("(536-90-4399)", "([identity])"),
        ("SSN (536-90-4399)", "SSN ([identity])"),
        ("NHS (943 476 5919)", "NHS ([health])"),
        ("routing (021000021)", "routing ([payment])"),
        ("call (415) 555-0134", "call [contact]"),
        ("1/2 4111111111111111", "1/2 [payment]"),
        ("1 2 4111 1111 1111 1111", "1 2 [payment]"),
        ("Nr.4111 1111 1111 1111", "Nr.[payment]"),
        ("card-4111111111111111", "card-[payment]"),
        ("id-536-90-4399", "id-[identity]"),
        ("4111  1111  1111  1111", "[payment]"),
        ("4111\t1111\t1111\t1111", "[payment]"),
        ("NHS 943  476\t5919", "NHS [health]"),
        ("4111\u30001111\u30001111\u30001111", "[payment]"),
        ("DE89-3704-0044-0532-0130-00", "[payment]"),
        ('password: "correct horse, battery"', 'password: "[credentials]"'),
        ('password: "a\\"b c"', 'password: "[credentials]"'),
        ("password: 'tr0ub,4dor&3'", "password: '[credentials]'"),
        ("password\x1c: hunter2", "password\x1c: [credentials]"),
        ("access_token=ya29.a0AfH6SMBx1", "access_token=[secrets]"),
        ("refresh_token: 1//0gabcdefghij", "refresh_token: [secrets]"),
        ("homepage token: CAUQAA8f9d0s9a8", "homepage token: [secrets]"),
        ('"secret": "s3cr3tvalue12345"', '"secret": "[secrets]"'),
        ("Authorization: Basic dXNlcjpwYXNzd29yZDEyMw==", "Authorization: Basic [credentials]"),
        ("redis://:secretpass@host:6379/0", "[secrets]"),
        ("sk_test_" + "4eC39Hqp" * 3, "[secrets]"),
        ("https://hooks.slack.com/services/T00000000/B00000000/" + "x" * 24, "https://[secrets]"),
        ("born January 2, 1980", "born [identity]"),
    ],
)
def test_other_ways_to_write_them(text: str, masked: str) -> None:
    assert mask_with(text, find) == masked


@pytest.mark.parametrize(
    "text",
    [
        "NHS 943 476 5918",
        "01.02.2031",
        "05/11/2026",
        "+999 123 4567",
        "(000) 555-0134",
        "in 12 34 56 a",
        "(943 476 5918)",
        "v-415-555-0134",
        "0.4111111111111111",
        "1-4111111111111111",
        "the secret is a long story",
        "tokens: 12345678",
        "415\t555\t0134",
        'password: "is  "',
        "next_page_token: CAUQAA8f9d0s9a8",
        "NextToken=CAUQAA8f9d0s9a8",
        "nextPageToken=CAUQAA8f9d0s9a8",
        "the sync token is CAUQAA8f9d0s9a8",
    ],
)
def test_near_misses(text: str) -> None:
    assert classify(f"see {text}.") == frozenset()


def test_a_row_of_numbers_is_bounded() -> None:
    assert all(found.end - found.start <= LONGEST_ROW for found in find("1" * 500 + " " + "41 " * 500))


@pytest.mark.parametrize(
    "unit",
    [
        "12 ",
        "02 ",
        "1/",
        "a.b://c:d@",
        "A1B2",
        "pin 1",
        "bc1",
        "１",
        "ab@c.",
        "(0",
        "card 4111 ",
        "1 - ",
        "(0) ",
        'password: "',
        "password: '\\\\",
    ],
)
@pytest.mark.long
def test_time_grows_with_the_length(unit: str) -> None:
    def taken(size: int) -> float:
        text = (unit * size)[:size]
        start = time.thread_time()
        find(text)
        return time.thread_time() - start

    short = min(taken(4_000) for _ in range(3))
    assert min(taken(32_000) for _ in range(3)) < 24 * short + 0.05
