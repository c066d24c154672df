"""Splitting Cedar text into statements, with their lines: the engine gives no positions.

A statement ends at a `;` outside strings and comments. Strings are in double quotes, with `\\` escapes, and may run
over lines; comments run from `//` to the end of the line. Nothing else of the grammar is needed, so text that Cedar
refuses still splits, and each refusal has its line.
"""

from __future__ import annotations

import re

import msgspec

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\n]*|;|\s+|[^\s";/]+|/', re.DOTALL)
"""A string (perhaps without its end), a comment, the end of a statement, space, or other text."""


class Statement(msgspec.Struct, frozen=True):
    """One statement, as written."""

    file: str
    text: str
    """From its first token to its `;`, comments within it included."""
    line: int
    """1-based line of its first token."""

    def line_of(self, *needles: str) -> int:
        """The line of the first of `needles` that stands in the statement outside comments; its first line if none."""
        code = _without_comments(self.text)
        for needle in needles:
            at = code.find(needle)
            if at >= 0:
                return self.line + code.count("\n", 0, at)
        return self.line


def split(file: str, text: str) -> list[Statement]:
    """The statements of `text`; one that lacks its `;` is the last."""
    statements = []
    start, start_line, line = -1, 1, 1
    end = 0
    for match in _TOKEN.finditer(text):
        piece = match[0]
        blank = piece.isspace() or piece.startswith("//")
        if start < 0 and not blank:
            start, start_line = match.start(), line
        line += piece.count("\n")
        if not blank:
            end = match.end()
        if piece == ";":
            statements.append(Statement(file, text[start:end], start_line))
            start = -1
    if start >= 0:
        statements.append(Statement(file, text[start:end], start_line))
    return statements


def _without_comments(text: str) -> str:
    """`text` with comments blanked, character for character."""
    return "".join(" " * len(match[0]) if match[0].startswith("//") else match[0] for match in _TOKEN.finditer(text))
