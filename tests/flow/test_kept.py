"""What is kept of a stored text: it is known again in any of its parts, and no other text surely is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiducial.flow.kept import MAX_TEXT, RUN, Kept, Probe

KEY = b"k" * 32
NOTE = "Pay the rent to GB29NWBK60161331926819 on the first of each month.\nThe landlord is Ann Miller\nRing twice"

WORD = st.text("abcdé9.,-", min_size=1, max_size=4)
TEXT = st.lists(WORD, min_size=1, max_size=30).map(" ".join)


def kept(*texts: str) -> Kept:
    return Kept.of(texts, KEY)


def probe(text: str) -> Probe:
    return Probe(text, KEY)


@given(TEXT, st.data())
def test_any_words_in_a_row_are_known(text: str, data: st.DataObject) -> None:
    words = text.split()
    low = data.draw(st.integers(0, len(words) - 1))
    high = data.draw(st.integers(low + 1, len(words)))
    part = probe(" ".join(words[low:high]))
    assert kept(text).known(part) or not part.folded()
    if high - low >= RUN or high - low == len(words):
        assert kept(text).surely(part)


@given(TEXT, TEXT)
def test_nothing_is_surely_from_an_item_that_does_not_say_it(text: str, other: str) -> None:
    words, others = text.split(), other.split()
    says = any(words[at : at + len(others)] == others for at in range(len(words)))
    runs = {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}
    every_run = len(others) >= RUN and all(tuple(others[at : at + RUN]) in runs for at in range(len(others) - RUN + 1))
    assert kept(text).surely(probe(other)) <= (says or every_run)


@pytest.mark.parametrize(
    ("text", "surely", "known"),
    [
        (NOTE, True, True),
        ("  Pay the rent to\nGB29NWBK60161331926819 ", True, True),
        ("The landlord is Ann Miller", True, True),
        ("Ring twice", True, True),
        ("landlord is Ann", False, True),
        ("THE LANDLORD IS ANN MILLER RING TWICE", False, True),
        ("Pay the rent to GB29NWBK60161331926818", False, False),
        ("y the rent to GB29NWBK60161331926819 on the fir", False, False),
        ("The landlord is Bob Miller", False, False),
        ("Pay the rent to Ann Miller", False, False),
        ("Pay the rent to GB29NWBK60161331926819, on the first", False, True),
        ("Pаy the rent to GB29NWBK60161331926819", False, True),
        ("nobody", False, False),
    ],
)
def test_a_part_is_told_from_what_only_looks_like_one(text: str, surely: bool, known: bool) -> None:
    """Trust takes the same code points; who it is from may be told from less. `Pаy` has a Cyrillic letter."""
    assert (kept(NOTE).surely(probe(text)), kept(NOTE).known(probe(text))) == (surely, known)


def test_what_is_kept_needs_the_key_and_comes_back_as_it_was() -> None:
    whole = kept(NOTE, "and more")
    again = Kept.decode(whole.encode())
    assert again.encode() == whole.encode()
    assert again.surely(probe("The landlord is Ann Miller"))
    assert not again.cut
    assert not whole.known(Probe("The landlord is Ann Miller", b"j" * 32))
    assert b"landlord" not in whole.encode()


@pytest.mark.parametrize(
    "data", [b"", b"\0", kept(NOTE).encode()[:-1], kept(NOTE).encode()[:-8], kept(NOTE).encode() + b"12345678"]
)
def test_what_is_damaged_is_not_read(data: bytes) -> None:
    with pytest.raises(ValueError):
        Kept.decode(data)


def test_an_item_that_is_too_long_says_so() -> None:
    long = kept("a " * (MAX_TEXT // 2) + "the rest of it")
    assert long.cut
    assert not long.known(probe("the rest of it"))
    assert not kept("a " * (MAX_TEXT // 2)).cut
