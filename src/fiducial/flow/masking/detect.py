"""Finding values of data classes in text.

1. RE2 looks once, in linear time, which detectors could find anything (one `Set`), and where (each of those).
2. Around those places, and nowhere else, each detector is tried at every character; every repetition in it is bounded.
3. What it matches is judged exactly: check digits, issuers, metadata, words before it.
4. A value inside another of its detector is none, and neither is a number inside any other number: part of an IBAN can
   pass for a telephone number.

Classes are those of `fiducial.charter.classes`. `location` and `children` cannot be told from text alone: contracts
declare where they stand (`fiducial.flow.declared`). A charter can give forms of its own, for any class (`forms`), and
have a model asked for names (`recognizer`), which is given the passages of a text (`passages`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import re2
from re2 import _re2

from fiducial.charter.classes import BUILT_IN_CLASSES
from fiducial.charter.forms import Form
from fiducial.flow.masking import tokens
from fiducial.flow.masking.accounts import IBAN, WALLET
from fiducial.flow.masking.codes import CODE
from fiducial.flow.masking.contact import EMAIL
from fiducial.flow.masking.detector import Detector, Found
from fiducial.flow.masking.forms import Matcher
from fiducial.flow.masking.numbers import NUMBER
from fiducial.flow.masking.passages import passages
from fiducial.flow.masking.recognizer import Recognizer
from fiducial.flow.masking.secrets import NAMED, SECRETS

_OF_NUMBERS = (NUMBER, IBAN, WALLET, CODE)
_NUMBERS = len(_OF_NUMBERS)
DETECTORS = (*_OF_NUMBERS, EMAIL, *SECRETS, *NAMED)
DETECTABLE = frozenset().union(*(each.classes for each in DETECTORS))
"""Classes that can be told from text alone."""
_STRETCH = 64 * 1024
"""Characters that RE2 is given at a time, so that other threads are not held up."""
_OVERLAP = 1024
"""Characters of the longest match of a screen."""


class _Screen:
    """The screens of all detectors."""

    __slots__ = ("_set", "_singly")

    def __init__(self) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.never_capture = True
        self._set = _re2.Set(_re2.RE2.Anchor.UNANCHORED, options)
        self._singly = []
        for detector in DETECTORS:
            pattern = detector.screen.encode("ascii", "replace")
            if self._set.Add(pattern) < 0:
                raise ValueError(f"the screen `{detector.screen}` is not RE2")
            self._singly.append(_re2.RE2(pattern, options).Match)
        if not self._set.Compile():
            raise ValueError("the screens do not compile")

    def hits(self, plain: bytes) -> list[tuple[int, list[tuple[int, int]]]]:
        """Index of each detector whose screen hits `plain`, and where."""
        any_in, size = self._set.Match, len(plain)
        if size <= _STRETCH + _OVERLAP:
            return [(index, _places(self._singly[index], plain, 0, size, size)) for index in any_in(plain)]
        found: dict[int, list[tuple[int, int]]] = {}
        for start in range(0, size, _STRETCH):
            end = min(size, start + _STRETCH + _OVERLAP)
            for index in any_in(plain[start:end]):
                places = _places(self._singly[index], plain, start, end, start + _STRETCH)
                found.setdefault(index, []).extend(places)
        return sorted(found.items())


_SPACE = re.compile(r"\s")
_ANYWHERE = _re2.RE2.Anchor.UNANCHORED


def _places(match: _re2.RE2.Match, plain: bytes, start: int, end: int, before: int) -> list[tuple[int, int]]:
    """Where the pattern matches `plain[start:end]`, beginning before `before`."""
    places: list[tuple[int, int]] = []
    while True:
        at, to = match(_ANYWHERE, plain, start, end)[0]
        if at < 0 or at >= before:
            return places
        places.append((at, to))
        start = to


class Detection:
    """Tells data classes from text: as it can be done without a charter, and by the forms of one, and by a model."""

    __slots__ = ("_matchers", "_recognizer", "_shown", "classes", "longest", "recognizes")

    def __init__(
        self,
        names: Iterable[str] = (),
        forms: Mapping[str, Iterable[Form]] = MappingProxyType({}),
        recognizer: Recognizer | None = None,
    ) -> None:
        """`names`: classes that the charter declares, which tokens may show. `forms`: of its classes, or others.
        `recognizer`: tells names."""
        self._matchers = tuple(Matcher(name, form) for name, several in forms.items() for form in several)
        self._shown: dict[str, frozenset[str]] = {}
        for name in (*BUILT_IN_CLASSES, *names):
            shown = tokens.shown(name)
            self._shown[shown] = self._shown.get(shown, frozenset()) | {name}
        self._recognizer = recognizer
        self.recognizes = recognizer is not None
        """A model is asked for names, which takes hundreds of times as long as all else."""
        self.classes = DETECTABLE | forms.keys() | (recognizer.classes if recognizer is not None else frozenset())
        """Classes that can be told from text."""
        self.longest = max((each.longest for each in self._matchers), default=0)
        """Characters of the longest value in a form of the charter's."""

    def find(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """Every value of `classes` in `text` (`None`: of all), by start and then the longest first; values may
        overlap. Of equal ones, that in a form of the charter's is first, and a name last. Raises `MaskingError` when
        names cannot be told."""
        found = self.by_form(text, classes)
        if self.recognizes:
            for start, end in passages(text):
                found += self.names_in(text[start:end], classes, start)
            found.sort(key=by_start)
        return found

    def by_form(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """What `find` finds by its form, and no names."""
        classes = self.classes if classes is None else classes
        written, text = text, folded(text)
        parted = escapes_parted(text)
        found = self._found(parted, classes)
        if parted is not text:
            # Where nothing is escaped, a password may have a backslash in it.
            found += _behind_escapes(text, self._found(text, classes), {each.start: each.end for each in found})
        if self._matchers and text is not written:
            found += self._formed(escapes_parted(written), classes)
        if len(found) > 1:
            found.sort(key=by_start)
        return found

    def formed(self, text: str, classes: frozenset[str]) -> list[Found]:
        """Every value of `classes` in `text` in a form of the charter's."""
        return list(self._formed(folded(text), classes)) if self._matchers else []

    def in_key(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """What `find` finds, in the key of a member: in one word, which calls something by its name, by form alone."""
        return (self.find if _SPACE.search(text) else self.by_form)(text, classes)

    def names_in(self, passage: str, classes: frozenset[str] | None = None, at: int = 0) -> list[Found]:
        """The names of `classes` in `passage`, which begins at `at` of its text. Raises `MaskingError`."""
        if self._recognizer is None:
            return []
        plain = escapes_parted(folded(passage)).replace("\\", " ")
        found = self._recognizer.find(plain, self.classes if classes is None else classes)
        return [Found(at + start, at + end, name) for start, end, name in found]

    def classify(self, text: str) -> frozenset[str]:
        """Data classes of the values in `text`, and of those that tokens stand for in it."""
        return self.stood_for(text).union(each.data_class for each in self.find(text))

    def stood_for(self, text: str) -> frozenset[str]:
        """Data classes of the values that tokens stand for in `text`, whoever made them."""
        return frozenset().union(*(self._shown.get(name, (name,)) for name in tokens.classes(text)))

    def _found(self, text: str, classes: frozenset[str]) -> list[Found]:
        known = _found(text, classes)
        return [*self._formed(text, classes), *known] if self._matchers else known

    def _formed(self, text: str, classes: frozenset[str]) -> Iterator[Found]:
        for matcher in self._matchers:
            if matcher.data_class in classes:
                yield from matcher.find(text)


def _behind_escapes(text: str, found: list[Found], ends: dict[int, int]) -> Iterator[Found]:
    """What was found where escapes count for nothing, without the escapes that it begins with, and without what else
    `ends` there; none that begins within one."""
    for start, end, data_class in found:
        near = ESCAPE.finditer(text, max(0, start - LONGEST_ESCAPE), start + LONGEST_ESCAPE)
        if not any(escape.start() < start < escape.end() for escape in near):
            start = ends.get(start, start)
            while (escape := ESCAPE.match(text, start)) is not None:
                start = escape.end()
            if start < end:
                yield Found(start, end, data_class)


def _found(text: str, classes: frozenset[str]) -> list[Found]:
    found: list[Found] = []
    numbers: list[Found] = []
    for index, places in _SCREEN.hits(_shown(text)):
        detector = DETECTORS[index]
        if index < _NUMBERS:
            numbers += _values(detector, text, places)
        elif not detector.classes.isdisjoint(classes):
            found += _values(detector, text, places)
    found += _outermost(numbers) if len(numbers) > 1 else numbers
    return [each for each in found if each.data_class in classes]


def _shown(text: str) -> bytes:
    """What the screens see of `text`."""
    return text.encode("ascii", "replace").translate(_SPACES)


def by_start(found: Found) -> tuple[int, int]:
    """The order of what is found: by start, and then the longest first."""
    return found.start, -found.end


def _outermost(numbers: list[Found]) -> Iterator[Found]:
    covered = 0
    for each in sorted(numbers, key=by_start):
        if each.end > covered:
            covered = each.end
            yield each


def _values(detector: Detector, text: str, places: list[tuple[int, int]]) -> Iterator[Found]:
    search, judge, covered = detector.find.search, detector.judge, 0
    for start, end in _regions(detector, places):
        match = search(text, start, end)
        while match is not None:
            # What ends within a value of this detector is part of it.
            if match.end() > covered:
                value = judge(match)
                if value is not None:
                    covered = value.end
                    yield value
            match = search(text, match.start() + 1, end)


def _regions(detector: Detector, places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Where values can be, without overlaps."""
    before, after = detector.before, detector.after
    start, end = max(0, places[0][0] - before), places[0][1] + after
    for at, to in places:
        if at - before > end:
            yield start, end
            start = at - before
        end = to + after
    yield start, end


_FOLDED = {
    **{ord("\uff01") + offset: ord("!") + offset for offset in range(94)},
    **dict.fromkeys([0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], ord(" ")),
    **dict.fromkeys([0x85, 0x2028, 0x2029], ord("\n")),
    **dict.fromkeys([*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63], ord("-")),
}
_SPACES = bytes.maketrans(b"\x0b\x1c\x1d\x1e\x1f", b"     ")
"""What is whitespace to Python and not to RE2."""
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_FOLDABLE = re2.compile("[" + "".join(map(chr, _FOLDED)).replace("]", "") + r"]|[^\P{Nd}0-9]")


def folded(text: str) -> str:
    """`text` with full-width characters, digits of other scripts, and spaces and dashes of all kinds in their ASCII
    form; each character stays where it is."""
    if text.isascii() or _FOLDABLE.search(text.encode("utf-8", "replace")) is None:
        return text
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text.translate(_FOLDED))


ESCAPE = re.compile(r"\\{1,8}(?:[bfnrt]|u[0-9A-Fa-f]{4})")
"""Escapes of JSON (RFC 8259 section 7), also in JSON within JSON, that end in a letter or a digit: the next word would
seem to begin with it."""
LONGEST_ESCAPE = 13
_SHORT = {"n": "\n", "r": "\r"}


def escapes_parted(text: str) -> str:
    """`text` with what escapes stand for in their place, in as many characters: a letter as often as that, else white
    space. Texts quote pieces of JSON, and are cut off within it."""
    return ESCAPE.sub(_stood_for, text) if "\\" in text else text


def _stood_for(escape: re.Match[str]) -> str:
    _, is_code, code = escape[0].partition("u")
    character = chr(int(code, 16)) if is_code else _SHORT.get(escape[0][-1], " ")
    return (character if character.isalpha() or character in "\r\n" else " ") * len(escape[0])


_SCREEN = _Screen()

BUILT_IN = Detection()
"""Without a charter."""
find, classify = BUILT_IN.find, BUILT_IN.classify
