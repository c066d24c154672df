"""YAML as charters are written in it: a subset that has one reading.

What people write is judged by other people, so nothing may mean two things. Text becomes plain JSON data plus the line
of every key and element. Of YAML 1.2's core schema only what nobody misreads is kept:

    true, false, null, ~, nothing          as in JSON
    12, -3, 0x1f, 0o17, 1.5, 1e3           numbers, within ±(2⁶³ − 1)
    2026-01-31, 12:30, 30s                 text: dates, times and durations are never guessed
    yes, no, on, off                       refused: a boolean to YAML 1.1 readers, a word to others
    0123, 1_000                            refused: octal to some, decimal to others
    .inf, .nan                             refused: not JSON
    anchors, aliases, merge keys, tags     refused: one can grow without bound, the others change types unseen
    a repeated key, a key that is no text  refused: one of the two values would be lost in silence
    a second document                      refused
    U+2028, a lone CR, text turned around  refused: editors show other lines than YAML reads

Every violation becomes a problem with its line, and reading goes on, so that all are reported at once; only a syntax
error ends it. Nesting, the number of values and the size are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml

from fiducial.charter.misread import misread
from fiducial.core.path import Path
from fiducial.errors import Problem

MAX_BYTES = 4 * 2**20
"""Largest file read; a charter with a thousand tools is an eighth of it."""
MAX_DEPTH = 64
"""Deepest nesting; libyaml itself stops at 1,000, past what the interpreter's stack takes."""
MAX_VALUES = 200_000
"""Most values a file may hold."""

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_./$-]*(?: [A-Za-z0-9_./$-]+)*")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_WORDS = frozenset({"yes", "no", "on", "off"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_PADDED = re.compile(r"[-+]?0[0-9]+")
_GROUPED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(slots=True)
class Document:
    """What one file says."""

    file: str
    """Name of the file, for problems."""
    data: Any = None
    """Plain JSON data; `None` when the file is empty or could not be read."""
    lines: dict[Path, int] = field(default_factory=dict)
    """Path → 1-based line of the key or element."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong; `data` then holds the rest."""
    readable: bool = True
    """False after a syntax error: `data` is not what was written."""

    def line(self, path: Path) -> int:
        """The line of `path`, or of its nearest ancestor; 1 when the file has none."""
        for length in range(len(path), -1, -1):
            found = self.lines.get(path[:length])
            if found is not None:
                return found
        return 1

    def problem(self, path: Path, code: str, message: str, fix: str = "", *, warning: bool = False) -> None:
        """Add a problem at `path`."""
        line = self.line(path)
        self.problems.append(Problem(self.file, line, code, message, fix, "warning" if warning else "error"))


def read_yaml(text: str, file: str) -> Document:
    """Read `text`, the content of `file`. Never raises on what the text holds."""
    document = Document(file)
    if len(text) > MAX_BYTES:
        document.problems.append(
            Problem(file, 0, "too-large", f"the file has more than {MAX_BYTES} characters", "split it, or shorten it")
        )
        document.readable = False
        return document
    for line, what in misread(text):
        message, fix = (
            f"{what} shows people other text than YAML reads",
            "delete it, or write it as an escape in quotes",
        )
        document.problems.append(Problem(file, line, "misread-character", message, fix))
    reader = _Reader(document)
    try:
        text.encode()
        for event in yaml.parse(text, Loader=_Loader):
            if not reader.take(event):
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        _unreadable(document, mark.line + 1 if mark else 0, _plain(said))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 0
        _unreadable(document, line, "holds a character that text files may not")
    except UnicodeEncodeError as error:
        _unreadable(document, text.count("\n", 0, error.start) + 1, "holds a lone surrogate")
    except (ValueError, RecursionError):
        _unreadable(document, 0, "cannot be read")
    return document


def is_plain(text: str) -> bool:
    """Whether `text` can be written without quotes and is read back as the same text."""
    return bool(_PLAIN.fullmatch(text)) and text not in _NULL | _TRUE | _FALSE and text.lower() not in _WORDS


def _unreadable(document: Document, line: int, said: str) -> None:
    document.readable = False
    document.data = None
    document.problems.append(
        Problem(document.file, line, "yaml-syntax", f"this is not YAML: {said}", "see https://yaml.org/spec/1.2.2/")
    )


def _plain(said: str) -> str:
    return said[:1].lower() + said[1:200].replace("`", "'")


@dataclass(slots=True)
class _Open:
    """A mapping or list that has begun and not ended."""

    value: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None
    """For a mapping: the key whose value comes next; `None`: a key comes next."""
    skip: bool = False
    """The value that comes next is dropped: its key was refused."""


class _Reader:
    """Builds the data from parser events, with no recursion."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: list[_Open] = []
        self._documents = 0
        self._values = 0

    def take(self, event: Any) -> bool:
        """Take one event; False when reading cannot go on."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._add(event, "several-documents", "a second document begins", "keep one document a file")
                return False
            return True
        if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._end()
            return True
        if not isinstance(event, yaml.NodeEvent):
            return True
        self._values += 1
        if self._values > MAX_VALUES or len(self._open) >= MAX_DEPTH:
            what = f"has more than {MAX_VALUES} values" if self._values > MAX_VALUES else "is nested too deeply"
            self._add(event, "too-large", f"the file {what}", "split it, or shorten it")
            self._document.readable, self._document.data = False, None
            return False
        self._check_node(event)
        if isinstance(event, yaml.AliasEvent):
            self._value(None, event)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        else:
            self._begin(event)
        return True

    def _check_node(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            name = f"{'*' if isinstance(event, yaml.AliasEvent) else '&'}{event.anchor}"
            self._add(event, "yaml-anchor", f"`{name}`: anchors and aliases are not read", "write the value out")
        elif getattr(event, "tag", None) is not None:
            self._add(event, "yaml-tag", "a value has an explicit tag", "drop it; quote the value to make it text")

    def _begin(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if self._awaits_key():
            self._add(event, "key-not-text", "a key is a list or mapping", "write a name")
        value: dict[str, Any] | list[Any] = {} if mapping else []
        path = self._value(value, event)
        self._open.append(_Open(value, path))

    def _end(self) -> None:
        self._open.pop()

    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _scalar(self, event: Any) -> None:
        if not event.value.isascii():
            event.value.encode()  # an escape can spell a lone surrogate; libyaml refuses those itself
        plain = event.implicit[0]
        if not self._awaits_key():
            self._value(self._resolve(event.value, event) if plain else event.value, event)
            return
        top = self._open[-1]
        key = event.value
        if plain and key == "<<":
            self._add(event, "yaml-anchor", "`<<`: merge keys are not read", "write the keys out")
            top.skip = True
        elif plain and not isinstance(self._resolve(key, event), str):
            self._add(event, "key-not-text", f"the key `{_short(key)}` is not text", "put it in quotes")
            top.skip = True
        assert isinstance(top.value, dict)
        if key in top.value:
            first = self._document.lines.get((*top.path, key), 0)
            message = f"the key `{_short(key)}` stands here a second time; the first is in line {first}"
            self._add(event, "repeated-key", message, "keep one of them")
            top.skip = True
        if not top.skip:
            self._document.lines[(*top.path, key)] = event.start_mark.line + 1
        top.key = key

    def _value(self, value: Any, event: Any) -> Path:
        """Put `value` where it belongs; its path."""
        line = event.start_mark.line + 1
        if not self._open:
            self._document.data = value
            self._document.lines[()] = line
            return ()
        top = self._open[-1]
        if isinstance(top.value, list):
            path = (*top.path, len(top.value))
            top.value.append(value)
            self._document.lines[path] = line
            return path
        if top.key is None:  # a key that is a collection or an alias: already refused
            top.key, top.skip = "", True
            return (*top.path, "")
        path = (*top.path, top.key)
        if not top.skip:
            top.value[top.key] = value
        top.key, top.skip = None, False
        return path

    def _resolve(self, text: str, event: Any) -> Any:
        """The value of an unquoted scalar."""
        if text in _NULL:
            return None
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text.lower() in _WORDS:
            meant = "true" if text.lower() in ("yes", "on") else "false"
            self._add(
                event,
                "ambiguous-value",
                f"`{text}` is a boolean to some readers of YAML and a word to others",
                f"write `{meant}`, or put it in quotes",
            )
            return text
        if not text[0].isdigit() and text[0] not in "+-.":
            return text
        return self._number(text, event)

    def _number(self, text: str, event: Any) -> Any:
        if _PADDED.fullmatch(text) or _GROUPED.fullmatch(text):
            message = f"`{_short(text)}` is one number to some readers of YAML and another, or text, to others"
            self._add(event, "ambiguous-value", message, "write plain digits, or put it in quotes")
            return text
        if _NOT_FINITE.fullmatch(text):
            self._add(event, "not-json", f"`{text}` has no form in JSON", "leave the bound out, or write a number")
            return None
        number: int | float
        if _INTEGER.fullmatch(text) and len(text) <= 20:
            number = int(text)
        elif _BASED.fullmatch(text) and len(text) <= 30:
            number = int(text, 0)
        elif _FLOAT.fullmatch(text) or _BASED.fullmatch(text):
            number = float(text) if _FLOAT.fullmatch(text) and not _INTEGER.fullmatch(text) else float("inf")
        else:
            return text
        if not isfinite(number) or (isinstance(number, int) and abs(number) >= 2**63):
            message = f"the number `{_short(text)}` is out of range"
            self._add(event, "not-json", message, "put it in quotes to make it text")
            return None
        return number

    def _add(self, event: Any, code: str, message: str, fix: str) -> None:
        self._document.problems.append(Problem(self._document.file, event.start_mark.line + 1, code, message, fix))


def _short(text: str) -> str:
    """Text from the file as it may stand in a message."""
    flat = " ".join(text.split()).replace("`", "'")
    return flat if len(flat) <= 60 else flat[:59] + "…"
