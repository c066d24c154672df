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
_NESTING = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\n]*|[(){}\[\].,+*-]|&&|\|\||\b(?:if|else)\b', re.DOTALL)
"""What nests, with the strings and comments in which it does not."""
MAX_NESTING = 64
"""Brackets inside brackets, or members of members; a policy that people can read has less than ten."""
MAX_OPERATORS = 200
"""Operators that can chain, in one policy. Long lists of values belong into a set, which does not nest."""


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


def is_too_deep(text: str) -> bool:
    """Whether a statement is nested so deeply, or chains so many operators, that reading it could exhaust the stack.

    The engine reads by recursion, and past some thousand levels the whole process dies with it. A chain such as
    `a || b || c` nests once an operator, `a.b.c` once a dot.
    """
    brackets = operators = members = 0
    for match in _NESTING.finditer(text):
        piece = match[0]
        if piece[0] in '"/':
            continue
        if piece in "([{":
            brackets += 1
            members += piece == "["
        elif piece in ")]}":
            brackets -= 1
        elif piece == ".":
            members += 1
        else:
            members = 0
            operators += piece != ","
        if brackets > MAX_NESTING or members > MAX_NESTING or operators > MAX_OPERATORS:
            return True
    return False


def _without_comments(text: str) -> str:
    """`text` with comments blanked, character for character."""
    return "".join(" " * len(match[0]) if match[0].startswith("//") else match[0] for match in _TOKEN.finditer(text))
