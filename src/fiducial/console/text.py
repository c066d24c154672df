"""Text that anybody may have written, made safe to look at.

Everything a page shows passes here: `visible` is what the templates apply to every value by themselves, and `marked` is
for longer text of which parts are marked. Escaping keeps text from being read as markup; this keeps it from misleading
the reader:

- what is odd by `fiducial.core.plain`, but for tabs and line breaks, is shown as its code point, `⟨U+202E⟩`;
- a text ends after a number of characters, and says how many are left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup, escape

from fiducial.core.plain import is_odd, unpiled

LIMIT = 2_000
"""Characters of a value that a page shows."""
_KEPT = frozenset("\n\t")
"""Of what is odd elsewhere, what a page can show."""


class _Table(dict[int, str]):
    """For `str.translate`: what an odd code point is shown as. Filled as characters come."""

    def __init__(self, form: str) -> None:
        self._form = form

    def __missing__(self, code: int) -> str:
        character = chr(code)
        shown = self._form.format(code, _name(character)) if character not in _KEPT and is_odd(character) else character
        self[code] = shown
        return shown


def _name(character: str) -> str:
    return unicodedata.name(character, "a control character or an unassigned one").lower()


_AS_TEXT = _Table("⟨U+{:04X}⟩")
_AS_MARKUP = _Table('<span class="odd" title="{1}">⟨U+{0:04X}⟩</span>')


def visible(text: str, limit: int = LIMIT) -> str:
    """`text` with what cannot be seen made visible, `limit` characters of it at most. Plain: still to be escaped."""
    cut = text[:limit]
    shown = unpiled(cut).translate(_AS_TEXT)
    return shown if len(text) <= limit else f"{shown} … ({len(text) - limit:,} characters left out)"


class Mark(msgspec.Struct, frozen=True, order=True):
    """A part of a text that is marked."""

    start: int
    end: int
    """Character offsets, the end exclusive."""
    origin: str
    """An `Origin`: the colour, and the word that stands beside it."""
    anchor: str
    """Id of the mark in the page."""
    note: str
    """What was taken from here."""


_AROUND = 240
"""Characters kept before and after a mark of a text that is too long to be shown whole."""


def marked(text: str, marks: Iterable[Mark] = (), limit: int = LIMIT) -> Markup:
    """`text` as markup, with `marks` marked and what cannot be seen made visible.

    Of a text longer than `limit`, the beginning and what stands around the marks are shown. Marks that overlap an
    earlier one, or lie outside the text, are left out.
    """
    kept: list[Mark] = []
    for mark in sorted(marks):
        if 0 <= mark.start < mark.end <= len(text) and (not kept or mark.start >= kept[-1].end):
            kept.append(mark)
    parts: list[Markup] = []
    for start, end, shown in _windows(len(text), kept, limit):
        if not shown:
            parts.append(Markup('<span class="cut">… {:,} characters left out …</span>').format(end - start))
            continue
        at = start
        for mark in kept:
            if start <= mark.start and mark.end <= end:
                parts.append(_markup(text[at : mark.start]))
                parts.append(
                    Markup('<mark id="{}" class="from {}" tabindex="0">{}<span class="tag">{}</span></mark>').format(
                        mark.anchor, mark.origin, _markup(text[mark.start : mark.end]), visible(mark.note, 200)
                    )
                )
                at = mark.end
        parts.append(_markup(text[at:end]))
    return Markup("").join(parts)


def ticked(text: str, limit: int = LIMIT) -> Markup:
    """`text`, with what stands between backticks set as code: how the guard writes names in sentences."""
    parts = visible(text, limit).split("`")
    if len(parts) % 2 == 0:
        return Markup(escape("`".join(parts)))  # noqa: S704 - escaped
    shown = (Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts))
    return Markup("").join(shown)


def _markup(text: str) -> Markup:
    return Markup(str(escape(unpiled(text))).translate(_AS_MARKUP))  # noqa: S704 - escaped just before


def _windows(size: int, marks: Sequence[Mark], limit: int) -> list[tuple[int, int, bool]]:
    """Consecutive stretches of a text of `size` characters: start, end, and whether it is shown."""
    if size <= limit:
        return [(0, size, True)]
    keep = [(0, limit // 2)]
    for mark in marks[: max(1, limit // (2 * _AROUND))]:
        end = min(mark.end, mark.start + limit)
        start, end = max(0, mark.start - _AROUND), min(size, max(mark.end, end) + _AROUND)
        if start <= keep[-1][1]:
            keep[-1] = (keep[-1][0], max(keep[-1][1], end))
        else:
            keep.append((start, end))
    windows: list[tuple[int, int, bool]] = []
    at = 0
    for start, end in keep:
        if start > at:
            windows.append((at, start, False))
        windows.append((start, end, True))
        at = end
    if at < size:
        windows.append((at, size, False))
    return windows


__all__ = ["LIMIT", "Mark", "marked", "ticked", "visible"]
