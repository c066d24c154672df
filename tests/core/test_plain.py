"""What is printed of text that others wrote."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fiducial.core.plain import is_odd, plain, plain_json

ODD = "\x00\x07\x1b\x7f\x9b\x9d\u00a0\u00ad\u034f\u061c\u180e\u200b\u200d\u200e\u2028\u202e\u2066\u3164\ufe0f\ufeff"
ODD += "\U000e0041\U000e0100\ud800\ufffe"


def test_what_acts_or_hides_is_shown_as_its_code_point() -> None:
    for character in ODD:
        assert plain(f"a{character}b") == f"a⟨U+{ord(character):04X}⟩b"


def test_what_people_write_stays() -> None:
    for text in ("pay 10 EUR", "Zürich, Łódź, Ἀθῆναι", "北京 東京", "नमस्ते", "Việt", "e\u0301", "👍", "a\\b [bold]"):
        assert plain(text) == text
    assert plain("a\nb\tc") == "a⟨U+000A⟩b⟨U+0009⟩c"
    assert plain("a\nb\tc", keep="\n\t") == "a\nb\tc"


def test_piled_marks_are_shown() -> None:
    assert plain("a" + "\u0301" * 4) == "a" + "⟨U+0301⟩" * 4


@given(st.text(st.characters()))
def test_nothing_is_left_that_acts_or_hides(text: str) -> None:
    shown = plain(text)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert plain(shown) == shown


@given(st.text(st.characters()))
def test_json_keeps_its_meaning(text: str) -> None:
    shown = plain_json(json.dumps({"text": text}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {"text": text}
    assert not any(map(is_odd, shown.replace("\n", "")))
