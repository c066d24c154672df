"""Forms of a charter's: found as others are, in streams as in whole texts, in linear time."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fiducial.charter.forms import Form
from fiducial.flow.masking.detect import Detection
from fiducial.flow.masking.detector import Found
from fiducial.flow.masking.documents import documents
from fiducial.flow.masking.streams import ByteStream, MaskStream
from fiducial.flow.masking.values import mask, restore
from fiducial.flow.masking.vault import Vault

VAULT = Vault(b"0" * 32, "one")


def told(**forms: str | Form) -> Detection:
    made = {name: [Form(pattern=each) if isinstance(each, str) else each] for name, each in forms.items()}
    return Detection(made, made)


OWN = told(
    badge=r"\bEMP-[0-9]{6}\b",
    case=Form(pattern=r"[0-9]{4}(?: [0-9]{2}){1,3}", after=("case", "file no")),
    parcel=Form(pattern=r"[0-9]{8}", check="luhn"),
    name=r"(?i)\b(?:ann|bob) (?:van )?[a-zé]{2,12}",
    chinese="[密码]{2,4}x?",
    phrase="a[^z]{0,60}z",
)


def masked_in(pieces: list[str], detection: Detection = OWN) -> str:
    stream = MaskStream(VAULT, detection=detection)
    return "".join(map(stream.feed, pieces)) + stream.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ask EMP-123456.", ["EMP-123456"]), ("TEMP-123456", []), ("EMP-1234567", []), ("é EMP-123456", ["EMP-123456"]),
        ("\\nEMP-123456\\n", ["EMP-123456"]),
        ("EMP-１２３４５６", ["EMP-１２３４５６"]), ("EMP‐123456", ["EMP‐123456"]),
        ("case: 1234 56 78", ["1234 56 78"]), ("Case-No 1234 56", ["1234 56"]), ("showcase 1234 56", []),
        ("file_no 1234 56", ["1234 56"]), ("case" + " " * 50 + "1234 56", []),
        ("12345674 12345678", ["12345674"]), ("密码密", ["密码密"]), ("Ann Fox", ["Ann Fox"]),
        ("\ud800 EMP-123456", ["EMP-123456"]),
    ],
)  # fmt: skip
def test_what_is_found(text: str, found: list[str]) -> None:
    assert [text[each.start : each.end] for each in OWN.find(text, OWN.classes - {"phrase", "contact"})] == found


def test_other_classes_are_not_looked_for() -> None:
    assert OWN.find("EMP-123456", frozenset({"case"})) == []
    assert OWN.classify("EMP-123456 and ann@x.org") == {"badge", "contact"}


def test_matches_that_overlap_are_all_found_and_those_within_are_not() -> None:
    pairs = told(pair="aba")
    assert pairs.find("ababa") == [Found(0, 3, "pair"), Found(2, 5, "pair")]
    assert told(one="a{2,4}").find("aaaa") == [Found(0, 4, "one")]
    assert restore(mask("ababa", VAULT, detection=pairs), VAULT, {"pair"}) == "ababa"


def test_of_two_classes_the_charters_own_counts() -> None:
    mine = told(customer=r"[a-z]{1,20}@example\.org")
    assert str(mask("ann@example.org", VAULT, detection=mine)).startswith("masked-customer-")


def test_a_token_counts_as_its_class_however_it_is_spelled() -> None:
    names = ("staff_badge", "Staff Badge", "a-class-of-its-very-own", "健康", "Contact")
    mine = Detection(names)
    for name in names:
        assert name in mine.classify(f"see {VAULT.token('x', name)}.")
    assert mine.classify(f"see {VAULT.token('x', 'contact')}.") == {"contact", "Contact"}
    assert Detection().classify("masked-badge-00000000000000000000") == {"badge"}


def test_members_of_json_are_read_with_their_keys() -> None:
    given = {"caseNo": "1234 56", "n": {"file_no": ["2345 67"]}, "other": "3456 78"}
    masked = mask(given, VAULT, detection=OWN)
    assert "1234" not in str(masked)
    assert "2345" not in str(masked)
    assert masked["other"] == "3456 78"
    assert restore(masked, VAULT, OWN.classes) == given


_PIECES = st.one_of(
    st.sampled_from(["EMP-123456", "EMP-12345", "case ", "1234 56 78", "12345674", "Ann van ", "Ann ", "Fox", "密码"]),
    st.sampled_from([" ", "  ", "\n", "\\n", "\\u0031", "\\\\u00", ".", "a", "z", "-", "é", "file no: ", "4111 1111 "]),
    st.sampled_from([str(VAULT.token("x", "badge")), "masked-", "ann@x.org", "\ud800", "１２"]),
    st.text("0123456789 -azEMP密", max_size=20),
)


@given(st.lists(_PIECES, max_size=14).map("".join), st.randoms(use_true_random=False))
def test_any_split_masks_the_same(text: str, rng: random.Random) -> None:
    assume(not documents(text))
    whole = mask(text, VAULT, detection=OWN)
    cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert masked_in(pieces) == whole
    assert masked_in(list(text)) == whole


def test_bytes_may_be_split_within_a_character() -> None:
    raw, stream = "bob van brandé, 密码x".encode(), ByteStream(MaskStream(VAULT, detection=OWN))
    out = b"".join(stream.feed(raw[at : at + 1]) for at in range(len(raw))) + stream.close()
    assert out.decode() == mask(raw.decode(), VAULT, detection=OWN)
    assert b"masked-name-" in out
    assert b"masked-chinese-" in out


def test_a_value_with_spaces_is_held_back_until_it_is_over() -> None:
    stream = MaskStream(VAULT, detection=told(quote="Q: [a-z ]{1,200}[.]"))
    before = "x" * 300 + " Q: " + "word " * 38
    assert "Q:" not in stream.feed(before)
    assert "word" not in stream.feed("end. And ") + stream.close()


def test_what_is_held_back_is_bounded_by_the_longest_form() -> None:
    mine, piece = told(badge="EMP-[0-9]{6}", phrase="b.{0,199}c"), "some words "
    stream, held = MaskStream(VAULT, detection=mine), 0
    for _ in range(2_000):
        held += len(piece) - len(stream.feed(piece))
        assert held <= 300


@pytest.mark.parametrize("unit", ["a", "ab", "a ", "密", "case 1234 ", "EMP-"])
@pytest.mark.parametrize("pattern", ["a{1,200}b", "(?:a|ab|b){1,100}c", "[^x]{1,256}", "(?:a?){50}a{50}"])
def test_the_time_grows_with_the_length(unit: str, pattern: str) -> None:
    mine = told(own=pattern)

    def taken(size: int) -> float:
        text = (unit * size)[:size]
        start = time.thread_time()
        mine.find(text)
        return time.thread_time() - start

    short = min(taken(2_000) for _ in range(3))
    assert taken(16_000) < 24 * short + 0.1
