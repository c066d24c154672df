"""Text that anybody may have written, made safe to print.

What a terminal acts on, what cannot be seen, and what changes the order of what can is shown as its code point,
`⟨U+202E⟩`: Unicode categories Cc, Cf, Cs, Co, Cn, Zl and Zp, spaces other than the plain one, and letters, marks and
selectors without a shape. The reorderings are those of "Trojan Source" (CVE-2021-42574). Marks that pile up on one
letter, which can cover the lines around it, are shown likewise.
"""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Without a shape: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point; and the blank in Braille."""
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))
_PILED = re.compile(r"(?:[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]){4,}")
"""More marks than any orthography puts on a letter."""


def is_odd(character: str) -> bool:
    """Whether it is not shown as itself."""
    if character == " ":
        return False
    code = ord(character)
    return (
        unicodedata.category(character) in _HIDDEN
        or character in _BLANK
        or any(code in selectors for selectors in _SELECTORS)
    )


def plain(text: str, keep: str = "") -> str:
    """`text` with what is odd in it made visible, but for the characters in `keep`, such as line breaks."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(each) if each not in keep and is_odd(each) else each for each in unpiled(text))


def unpiled(text: str) -> str:
    """`text` with marks that pile up on one letter shown as their code points."""
    return _PILED.sub(lambda found: "".join(map(_code, found[0])), text)


def plain_json(text: str) -> str:
    """JSON that means what `text` means, with what is odd in its strings escaped as JSON escapes it."""
    return "".join(_escaped(each) if each != "\n" and is_odd(each) else each for each in text)


def _code(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


def _escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
