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
    assert kept(text).surely(part) == (high - low >= RUN or high - low == len(words))


FEW = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=12)


@given(FEW, FEW)
def test_nothing_is_surely_from_an_item_that_does_not_say_it_in_a_row(words: list[str], others: list[str]) -> None:
    """Three words only, so that most runs of one text stand somewhere in the other."""
    says = any(words[at : at + len(others)] == others for at in range(len(words)))
    item, part = kept(" ".join(words)), probe(" ".join(others))
    assert item.surely(part) == (says and (len(others) >= RUN or words == others))
    if len(others) <= RUN:
        assert item.known(part) == says
    assert item.known(part) or not item.surely(part)


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
        ("twice Ring", False, False),
        ("landlord rent", False, False),
        ("first Ann Miller", False, False),
        ("!?", False, False),
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


SUMS = "rent: pay 900 EUR to the account A1, deposit: pay 20 EUR to the account B2 and no other"


@pytest.mark.parametrize(
    ("text", "surely"),
    [
        ("rent: pay 900 EUR to the account A1, deposit:", True),
        ("rent: pay 900 EUR to the account B2 and", False),
        ("rent: pay 900 EUR to the account A1, deposit: pay 20 EUR to the account A1,", False),
    ],
)
def test_no_trust_comes_back_for_what_is_put_together_from_two_places(text: str, surely: bool) -> None:
    """Every run of five words of it stands in the item."""
    assert kept(SUMS).surely(probe(text)) is surely


def test_no_trust_comes_back_for_what_goes_on_in_another_text_of_the_item() -> None:
    assert kept("a b c d e f").surely(probe("a b c d e f"))
    assert not kept("a b c d e", "b c d e f").surely(probe("a b c d e f"))


def test_what_has_no_letters_is_known_as_a_whole() -> None:
    assert kept("--- !!! ---").surely(probe("--- !!! ---"))
    assert not kept("--- !!! --- ...").known(probe("--- !!! ---"))
    assert not kept("one").known(probe("!!!"))


@pytest.mark.long
def test_where_an_item_is_cut_off_stands_no_word_or_line_of_it() -> None:
    long = kept("a " * (MAX_TEXT // 2 - 10) + "\npay this at once 1000 EUR")
    assert long.cut
    assert not long.surely(probe("pay this at once 10"))
    assert not long.known(probe("10"))
    assert long.known(probe("pay this at once"))


@pytest.mark.long
def test_an_item_that_is_too_long_says_so() -> None:
    long = kept("a " * (MAX_TEXT // 2) + "the rest of it")
    assert long.cut
    assert not long.known(probe("the rest of it"))
    assert not kept("a " * (MAX_TEXT // 2)).cut
