"""Values that stand where a contract declares a data class: which of them a text carries, and where.

They are told by their words, folded, so that another case or other punctuation changes nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from fiducial.flow import entities, lexer
from fiducial.flow.disguise import SHORTEST_CODE, encodings
from fiducial.flow.lexer import fold, words

_QUOTE = re.compile(r'(?<!\\)"')
_KEY_BEFORE = re.compile(r"\s*:")
_JSON = re.compile(r'\s*[\[{]|.*"\s*:', re.DOTALL)
_CODE = re.compile(rf"[A-Za-z0-9+/_-]{{{SHORTEST_CODE},}}={{0,2}}")
_HEX = re.compile(r"[0-9A-Fa-f]{8}")
_URL_SAFE = str.maketrans("-_", "+/")
_ENCODED = 16
"""Characters of a value whose codes are kept; that of a longer one is long enough to be undone (`disguise`)."""
_VALUE_BYTES, _RUN_BYTES, _CODE_BYTES = 250, 160, 175
_SWITCH = r"(?:(?<=[a-z])[A-Z]|(?<=[A-Z][A-Z])[a-z]|(?<=[A-Za-z])[0-9]|(?<=[0-9])[A-Za-z])"
_LOOKS_CODED = re.compile(rf"{_SWITCH}[A-Za-z0-9]*?{_SWITCH}|(?:3[0-9]){{4}}")
"""Letters of one case and the other, and digits, that change twice in a word; or the hex code of four digits. A word
with such a code in it looks coded too."""
_NO_TEXT = re.compile(r"(?:[\s:,\[\]{}\d.eE+-]|true|false|null)*")


class Classed:
    """Values that stand where a contract declares a data class, by their words.

    A short value (one or two words) is known whole; a longer one by every run of three words, of which a text must
    carry all when the value has three or four words, and three in a row when it has more. Addresses and codes inside
    longer values count by themselves too, and so does each text of JSON that was cut short. Ordinary short words and
    small numbers are too common to say anything, and are not kept. Past the budget the class is assumed to flow.

    The base64 and hex codes of short values, as these were written, are known too, also inside other codes. When the
    values need their room, codes that look like some are given up: then whatever word looks coded carries the class.
    """

    __slots__ = (
        "_budget", "_coded_classes", "_codes", "_exact", "_size", "_sizes", "_starts", "_wordy", "assumed", "runs",
        "values",
    )  # fmt: skip

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self.values: dict[tuple[str, ...], frozenset[str]] = {}
        self.runs: dict[int, tuple[frozenset[str], int]] = {}
        """Hash of three words → classes, and how many runs in a row it takes."""
        self.assumed: frozenset[str] = frozenset()
        """Classes of values that found no room."""
        self._codes: dict[str, frozenset[str]] = {}
        self._exact = True
        """No code was given up."""
        self._coded_classes: frozenset[str] = frozenset()
        """Classes of codes that were given up."""
        self._starts: set[str] = set()
        self._sizes: list[int] = []
        self._wordy = False
        """Some code could be part of an ordinary word; until then those need no look."""

    @property
    def size(self) -> int:
        """Bytes used, about."""
        return self._size

    def __bool__(self) -> bool:
        return bool(self.values or self.runs or self.assumed)

    def add(self, text: str, classes: frozenset[str]) -> None:
        """`text` holds `classes`."""
        for start in range(0, len(text), 16 * 1024):
            stretch = text[start : start + 16 * 1024 + 256]
            tokens = self._add_whole(stretch, classes)
            if len(tokens) > 2:
                for entity in entities.addresses(stretch):
                    self._add_whole(entity, classes)
                for token in words(stretch):
                    if len(token) >= 6 and entities.has_digit(token):
                        self._add_whole(token, classes)
            for member in _members(stretch):
                self._add_whole(member, classes)

    def _add_whole(self, text: str, classes: frozenset[str]) -> list[str]:
        tokens = words(fold(text))
        self._add(tokens, classes)
        value = text.strip()
        if len(value) <= _ENCODED and _says(tokens) and not classes <= self.assumed:
            for code in encodings(value):
                self._add_code(code, classes)
        return tokens

    def _add_code(self, code: str, classes: frozenset[str]) -> None:
        known = self._codes.get(code, frozenset())
        if classes <= known:
            return
        if not self._exact and _LOOKS_CODED.search(code) is not None:
            self._coded_classes |= classes
        elif self._room(_CODE_BYTES, classes):
            self._codes[code] = _joined(known, classes)
            self._starts.add(code[:SHORTEST_CODE])
            self._wordy |= code.isalpha() and code[1:].islower()
            if len(code) not in self._sizes:
                self._sizes.append(len(code))

    def _add(self, tokens: Sequence[str], classes: frozenset[str]) -> None:
        if len(tokens) < 3:
            if not _says(tokens):
                return
            key = tuple(tokens)
            held = self.values.get(key, frozenset())
            if not classes <= held and self._room(_VALUE_BYTES, classes):
                self.values[key] = _joined(held, classes)
            return
        need = 3 if len(tokens) >= 5 else len(tokens) - 2
        runs = self.runs
        for run in zip(tokens, tokens[1:], tokens[2:], strict=False):
            hashed = hash(run)
            held, least = runs.get(hashed, (frozenset[str](), need))
            if (classes <= held and least <= need) or not self._room(_RUN_BYTES, classes):
                continue
            runs[hashed] = (_joined(held, classes), min(need, least))

    def _room(self, bytes_needed: int, classes: frozenset[str]) -> bool:
        """Take room for what is not known yet."""
        if self._size + bytes_needed > self._budget and self._exact:
            self._give_up_codes()
        if self._size + bytes_needed > self._budget:
            self.assumed |= classes
            return False
        self._size += bytes_needed
        return True

    def _give_up_codes(self) -> None:
        """Keep only the codes that do not look like any."""
        self._exact = False
        kept = {code: classes for code, classes in self._codes.items() if _LOOKS_CODED.search(code) is None}
        self._coded_classes = frozenset().union(*(self._codes[code] for code in self._codes.keys() - kept.keys()))
        self._size -= _CODE_BYTES * (len(self._codes) - len(kept))
        self._codes = kept
        self._starts = {code[:SHORTEST_CODE] for code in kept}

    def of(self, tokens: Sequence[str]) -> frozenset[str]:
        """Classes that a text of these folded words carries."""
        found = self.assumed
        values, runs = self.values, self.runs
        if values:
            for token in tokens:
                classes = values.get((token,))
                if classes is not None:
                    found |= classes
            for pair in pairwise(tokens):
                classes = values.get(pair)
                if classes is not None:
                    found |= classes
        if runs:
            row = 0
            for run in zip(tokens, tokens[1:], tokens[2:], strict=False):
                known = runs.get(hash(run))
                row = row + 1 if known is not None else 0
                if known is not None and row >= known[1]:
                    found |= known[0]
        return found

    def codes(self, text: str) -> Iterator[tuple[int, int, frozenset[str]]]:
        """Where `text` has a code in which a value stands: the start and end of all of it, and the classes."""
        if not self._codes and not self._coded_classes:
            return
        for match in _CODE.finditer(text):
            word = match[0]
            if not self._wordy and word.isalpha() and (word.islower() or word.istitle()):
                continue
            code = word.translate(_URL_SAFE)
            classes = self._coded(code)
            if _HEX.search(code) is not None:
                classes |= self._coded(code.lower())
            if self._coded_classes and _LOOKS_CODED.search(code) is not None:
                classes |= self._coded_classes
            if classes:
                yield *match.span(), classes

    def _coded(self, code: str) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for at in range(len(code) - SHORTEST_CODE + 1):
            if code[at : at + SHORTEST_CODE] in self._starts:
                for size in self._sizes:
                    found |= self._codes.get(code[at : at + size], frozenset())
        return found


def _joined(held: frozenset[str], classes: frozenset[str]) -> frozenset[str]:
    """All of them; no copy for every value whose classes are as those of the others."""
    return classes if held <= classes else held | classes


def _says(tokens: Sequence[str]) -> bool:
    """The words are more than an ordinary short one."""
    return sum(map(len, tokens)) >= 4 and not (len(tokens) == 1 and tokens[0] in lexer.FUNCTION_WORDS)


def _members(text: str) -> Iterator[str]:
    """The texts in a piece of JSON, wherever it begins and ends; not its keys."""
    if '"' not in text or _JSON.match(text) is None:
        return
    for member, after in pairwise([*_QUOTE.split(text), ""]):
        if _KEY_BEFORE.match(after) is None and _NO_TEXT.fullmatch(member) is None:
            try:
                yield json.loads(f'"{member}"', strict=False)
            except ValueError:
                yield member


def spans(classed: Classed, text: str, classes: frozenset[str]) -> Iterator[tuple[int, int, str]]:
    """Where `text` carries declared values of `classes`: start, end and class.

    The whole of it, when it would still carry one with those places masked.
    """
    if classed.assumed & classes:
        yield 0, len(text), min(classed.assumed & classes)
        return
    # Imported here: the detectors are needed by the few calls that are masked.
    from fiducial.flow.masking.detector import Found
    from fiducial.flow.masking.values import masked

    found = [Found(*span) for span in _spans(classed, _located(text), classes)]
    found += [Found(start, end, min(held & classes)) for start, end, held in classed.codes(text) if held & classes]
    yield from found
    left = classed.of(words(fold(masked(text, found)))) & classes
    if left:
        yield 0, len(text), min(left)


def _spans(
    classed: Classed, located: Sequence[tuple[str, int, int]], classes: frozenset[str]
) -> Iterator[tuple[int, int, str]]:
    tokens = [token for token, _, _ in located]
    for size in (1, 2):
        for index in range(len(tokens) - size + 1):
            found = classed.values.get(tuple(tokens[index : index + size]), frozenset()) & classes
            if found:
                yield located[index][1], located[index + size - 1][2], min(found)
    row = 0
    for index, run in enumerate(zip(tokens, tokens[1:], tokens[2:], strict=False)):
        known = classed.runs.get(hash(run))
        row = row + 1 if known is not None else 0
        if known is not None and row >= known[1] and known[0] & classes:
            yield located[index - known[1] + 1][1], located[index + 2][2], min(known[0] & classes)


def _located(text: str) -> list[tuple[str, int, int]]:
    """The words of the folded text, and where in `text` each starts and ends."""
    if text.isascii():
        return [(match[0].lower(), match.start(), match.end()) for match in lexer.WORD.finditer(text)]
    folded: list[str] = []
    origins: list[int] = []
    for index, character in enumerate(text):
        plain = fold(character)
        folded.append(plain)
        origins.extend([index] * len(plain))
    origins.append(len(text))
    return [
        # What folds to nothing behind a word, such as an accent, goes with it.
        (match[0], origins[match.start()], max(origins[match.end()], origins[match.end() - 1] + 1))
        for match in lexer.WORD.finditer("".join(folded))
    ]
