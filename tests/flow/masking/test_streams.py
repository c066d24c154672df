"""Streams: for every split, the same as all of it at once, and little held back."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from masking_values import KEY, SAMPLES

from fiducial.flow.masking.documents import documents
from fiducial.flow.masking.streams import ByteStream, MaskStream, RestoreStream, settled
from fiducial.flow.masking.tokens import LONGEST
from fiducial.flow.masking.values import mask, restore, restore_text
from fiducial.flow.masking.vault import Vault

VAULT = Vault(b"0" * 32, "one")
EVERYTHING = frozenset({"payment", "contact", "identity", "health", "credentials", "secrets"})
CARD, MAIL = str(VAULT.token("4111 1111 1111 1111", "payment")), str(VAULT.token("ann@x.org", "contact"))


def masked_in(pieces: list[str]) -> str:
    stream = MaskStream(VAULT)
    return "".join(map(stream.feed, pieces)) + stream.close()


def restored_in(pieces: list[str], *, in_json: bool = False) -> str:
    stream = RestoreStream(VAULT, EVERYTHING, in_json=in_json)
    return "".join(map(stream.feed, pieces)) + stream.close()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.text[:30])
def test_every_split_of_a_value_masks_the_same(sample: object) -> None:
    text = f"Please note: {sample.text}, and {sample.text} it is."  # type: ignore[attr-defined]
    whole = mask(text, VAULT)
    assert sample.value not in whole  # type: ignore[attr-defined]
    assert masked_in(list(text)) == whole
    for at in range(len(text)):
        assert masked_in([text[:at], text[at:]]) == whole, text[:at]


_PIECES = st.one_of(
    st.sampled_from([sample.text for sample in SAMPLES]),
    st.sampled_from([sample.value for sample in SAMPLES]),
    st.sampled_from([KEY, CARD, MAIL, CARD.upper(), CARD[:-1], "masked-", "-----BEGIN A PRIVATE KEY-----", "密码是"]),
    st.sampled_from(
        ["call", "card", "born on", "password", " ", "  ", "\n", ".", ", ", ": ", "-", "+", "(0)", "AB", " / "]
    ),
    st.sampled_from(['password: "correct horse', '"', "January 2,", "é", "ß", "\u3000", "\t", "\u2028", "\x1c", "\\"]),
    st.sampled_from(["\\n", "\\\\t", "\\u00e9", "\\u002B", "\\u00", 'token: "a\\rb9c1d2e3f4g5"']),
    st.text("0123456789 -/().+@aZ:=é４密\t", max_size=24),
    st.text(max_size=6),
)


@given(st.lists(_PIECES, max_size=12).map("".join), st.randoms(use_true_random=False))
def test_any_split_masks_the_same(text: str, rng: random.Random) -> None:
    assume(not documents(text))
    whole = mask(text, VAULT)
    cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 12)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert masked_in(pieces) == whole
    assert masked_in(list(text)) == whole


@given(st.lists(_PIECES, max_size=8).map("".join), st.randoms(use_true_random=False))
def test_any_split_restores_the_same(text: str, rng: random.Random) -> None:
    text = f" {text}"  # A text that is one token may become a number; a stream stays text.
    whole = restore(text, VAULT, EVERYTHING)
    cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 12)))
    assert restored_in([text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]) == whole
    assert restored_in(list(text)) == whole


@pytest.mark.parametrize("lost", range(1, 8))
def test_a_token_that_was_cut_short_takes_nothing_of_the_next(lost: int) -> None:
    text = CARD[:-lost] + CARD
    whole = CARD[:-lost] + str(restore(CARD, VAULT, EVERYTHING))
    assert restore(text, VAULT, EVERYTHING) == whole
    for cut in range(len(text)):
        assert restored_in([text[:cut], text[cut:]]) == whole


@pytest.mark.parametrize("after", ["", " ", "m", "a", "ango", "ask", "asked", "asked again"])
def test_a_token_that_ends_like_the_next_begins_is_whole(after: str) -> None:
    own = "a-class-of-its-very-own"
    text = next(token for n in range(4000) if (token := str(VAULT.token(f"value {n}", own))).endswith("m")) + after
    whole = restore_text(text, VAULT, {own})
    assert whole.startswith("value ")
    for cut in range(len(text)):
        stream = RestoreStream(VAULT, {own})
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.close() == whole
    stream = RestoreStream(VAULT, {own})
    assert "".join(map(stream.feed, text)) + stream.close() == whole


@given(st.lists(_PIECES, max_size=6).map("".join), st.integers(1, 5))
def test_bytes_may_be_split_within_a_character(text: str, size: int) -> None:
    assume(not documents(text))
    text = text.encode("utf-8", "replace").decode()
    raw = text.encode()
    for inner, whole in (
        (MaskStream(VAULT), mask(text, VAULT)),
        (RestoreStream(VAULT, EVERYTHING), restored_in([text])),
    ):
        stream = ByteStream(inner)
        out = b"".join(stream.feed(raw[at : at + size]) for at in range(0, len(raw), size)) + stream.close()
        assert out == whole.encode()


@pytest.mark.parametrize("before", ["", " ", "ann.fox+x@mail.example.org", "password: ab", "4111 "])
@pytest.mark.parametrize("after", ["", "ann.fox+x@mail.example.org", "@example.org", "m", "asked-", " 1111 1111 1111"])
def test_a_token_of_the_vault_parts_two_texts(before: str, after: str) -> None:
    text = before + CARD + after
    whole = mask(text, VAULT)
    assert whole == mask(before, VAULT) + CARD + mask(after, VAULT)
    for at in range(len(text)):
        assert masked_in([text[:at], text[at:]]) == whole
    assert masked_in(list(text)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "éAB 12 34 56 C",
        "born January 2, 1980 in",
        'password: "correct horse battery staple" is',
        "ｐassword：＂correct horse battery＂ is",
        "4111  1111\t1111\u30001111",
        r"password: ab\ncd9efg in",
        r'password:\t"correct horse battery" is',
    ],
)
def test_what_a_stream_must_hold_back_is_held_back(text: str) -> None:
    assert mask(text, VAULT) != text
    assert masked_in(list(text)) == mask(text, VAULT)


@pytest.mark.parametrize("unit", ["eyJaaaaaaaa.", "a@b.", "Ab3+/x", "1-"])
def test_the_time_for_a_character_does_not_grow_with_what_is_held_back(unit: str) -> None:
    def taken(size: int) -> float:
        text = (unit * size)[:size]
        pieces = [text[at : at + 4] for at in range(0, size, 4)]
        start = time.thread_time()
        masked_in(pieces)
        return time.thread_time() - start

    short = min(taken(1_000) for _ in range(3))
    assert min(taken(8_000) for _ in range(3)) < 20 * short + 0.02


def test_bytes_that_are_no_text_pass_as_they_are() -> None:
    stream = ByteStream(MaskStream(VAULT))
    out = stream.feed(b"\xff\xfe ann@x.org \xc3") + stream.feed(b"\x28 x") + stream.close()
    assert out == b"\xff\xfe " + MAIL.encode() + b" \xc3\x28 x"


@pytest.mark.parametrize(
    "unit", ["word ", "a", "4 ", "4111 1111 1111 1111 ", "-----BEGIN A PRIVATE KEY-----", "masked-", "密码"]
)
def test_what_is_held_back_is_bounded(unit: str) -> None:
    held = restoring = 0
    stream, restorer = MaskStream(VAULT), RestoreStream(VAULT, EVERYTHING)
    piece = unit * 40
    for _ in range(20_000 // len(piece)):
        held += len(piece) - len(stream.feed(piece))
        restoring += len(piece) - len(restorer.feed(piece))
        assert restoring <= LONGEST
        if "4111" not in unit:
            assert held <= 11_000


def test_prose_comes_out_a_word_behind() -> None:
    stream = MaskStream(VAULT)
    assert stream.feed("The order was sent on Tuesday, and") == "The order was sent on Tuesday, "
    assert stream.feed(" card 4111 1111") == "and card "
    assert stream.feed(" 1111 1111 belongs to you") == f"{CARD} belongs to "


def test_a_restored_value_cannot_end_a_text_in_json() -> None:
    token = str(VAULT.token('a"b\n', "credentials"))
    assert restored_in([f'{{"password": "{token}"}}'], in_json=True) == '{"password": "a\\"b\\n"}'


def test_an_empty_stream() -> None:
    assert masked_in([]) == ""
    assert masked_in(["", ""]) == ""
    assert settled("") == 0
