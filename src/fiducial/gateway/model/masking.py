"""What a provider does not get of a conversation: values of data classes, with tokens in their places.

A value is told by what it looks like, or by where it stands: contracts say where values of a class stand in the results
of their tool, and which parameters hold them. There they are masked whatever they look like. Nothing tells such a value
in the answer that it was put back in, when that is sent again: so what was put back is known wherever it comes again.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from fiducial.charter.model import Charter
from fiducial.core.path import Path, PathPattern
from fiducial.flow import lexer
from fiducial.flow.masking.detect import Detection
from fiducial.flow.masking.detector import Found
from fiducial.flow.masking.tokens import tokens
from fiducial.flow.masking.values import Finds, Places, mask, restore
from fiducial.flow.masking.vault import Held, Vault
from fiducial.gateway.model.thoughts import Thoughts
from fiducial.guard.guard import InForce
from fiducial.guard.tool import detection_of

_MASKED: Final = 2**22
"""Characters of one conversation whose masked form is remembered."""
_SHORT: Final = 64
"""Characters of a text that is masked as fast as it is found again."""
_MASKING: Final = 32
"""How many times as long as it takes to read a text it may take to mask it."""
_RECOGNIZING: Final = 4096
"""The same where a model is asked for names."""
_LONGEST_NAME: Final = 200
"""Characters of a name that is remembered to hold no value."""
_NAMES: Final = 10_000
"""Names that are remembered."""


_SHORTEST: Final = 3
"""Letters and digits of the shortest value that is known again; one more where all are digits."""
_WORDS: Final = lexer.FUNCTION_WORDS | {"false", "none", "null", "true", "unknown", "yes"}
"""Words that are no value wherever they stand."""
_ALL: Final = PathPattern("$")
_SPACE: Final = re.compile(r"\s")


class Classes(msgspec.Struct, frozen=True):
    """Data classes that are masked, and the charter by which their values are told."""

    names: frozenset[str]
    charter: InForce
    restores: frozenset[str] = frozenset()
    """Those that somebody gets back: where a value is of several classes, one of the others counts."""

    @property
    def cost(self) -> int:
        """How many times as long as it takes to read a text it may take to mask it."""
        return _RECOGNIZING if self.charter.detection.recognizes else _MASKING

    def of_results(self, tool: str) -> Places:
        """Where values of them stand in the results of `tool`."""
        known = self.charter.tools.get(tool)
        declared = known.classes if known is not None else {}
        return [(pattern, name) for name in self._in_order(declared) for pattern in declared[name]]

    def of_arguments(self, tool: str) -> Places:
        """Which parameters of `tool` hold them."""
        known = self.charter.tools.get(tool)
        parameters = known.parameters.values() if known is not None else ()
        return [(_Member(each.name), name) for each in parameters for name in self._in_order(each.classes)]

    def of_unknown(self) -> Places:
        """What holds for the result of a call that nobody here knows: it may be any tool's."""
        declared = {name for tool in self.charter.tools.values() for name in tool.classes}
        return [(_ALL, name) for name in self._in_order(declared)]

    def _in_order(self, names: Collection[str]) -> list[str]:
        return sorted(self.names.intersection(names), key=lambda name: (name in self.restores, name))


class _Back:
    """What was put back in one conversation, and is told when it comes again; no value is kept in clear."""

    def __init__(self, detection: Detection) -> None:
        self._detection = detection
        self._key = os.urandom(16)
        self._values: dict[bytes, str] = {}
        """Keyed digest of a value → its class."""
        self._lengths: dict[int, tuple[int, ...]] = {}
        """Hash of how values begin → how long they are that begin so."""

    def add(self, value: Held) -> None:
        """It was put back."""
        text = str(value.value)
        if _says(text) and (digest := self._digest(text)) not in self._values:
            self._values[digest] = value.data_class
            head = hash(text[:_SHORTEST])
            self._lengths[head] = tuple({*self._lengths.get(head, ()), len(text)})

    def find(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """See `Finds`."""
        return self._with_known(self._detection.find(text, classes), text)

    def in_key(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """See `Finds`."""
        return self._with_known(self._detection.in_key(text, classes), text)

    def by_form(self, text: str, classes: frozenset[str] | None = None) -> list[Found]:
        """What has a form, and no names."""
        return self._with_known(self._detection.by_form(text, classes), text)

    def _with_known(self, found: list[Found], text: str) -> list[Found]:
        lengths = self._lengths
        for at in range(len(text) - _SHORTEST + 1) if lengths else ():
            for length in lengths.get(hash(text[at : at + _SHORTEST]), ()):
                end = at + length
                if _goes_on(text[at - 1 : at + 1]) or _goes_on(text[end - 1 : end + 1]):
                    continue
                name = self._values.get(self._digest(text[at:end]))
                if name is not None:
                    found.append(Found(at, end, name))
        return found

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()


def _says(text: str) -> bool:
    """Whether it is a value wherever it stands, and no word or number that anybody may use."""
    signs = [sign for sign in text if sign.isalnum()]
    if len(signs) < _SHORTEST + (not any(map(str.isalpha, signs))):
        return False
    return text.strip().lower() not in _WORDS


def _goes_on(signs: str) -> bool:
    """Whether two characters are of one word, as far as words are told apart by spaces."""
    return len(signs) == 2 and signs.isascii() and signs.isalnum()


class _Words:
    """Tells data classes from what calls things by their names, or defines them: by form alone."""

    def __init__(self, back: _Back) -> None:
        self.find = self.in_key = back.by_form
        """See `Finds`."""


class Returning:
    """The vault of a conversation, for what goes to the client."""

    def __init__(self, vault: Vault, back: _Back) -> None:
        self._vault, self._back = vault, back

    def held(self, token: str) -> Held | None:
        """See `Vault.held`; it is put back now."""
        found = self._vault.held(token)
        if found is not None:
            self._back.add(found)
        return found


class _Member:
    """Covers a member of an object, whatever its name is."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def covers(self, path: Path) -> bool:
        """See `Covers`."""
        return path[:1] == (self._name,)


def maskable(charter: Charter) -> frozenset[str]:
    """Data classes of which something can be masked under `charter`: those that can be told from text, and those of
    which contracts say where they stand. Raises `CharterError` as `detection_of` does."""
    declared: set[str] = set()
    for contract in charter.contracts.values():
        declared.update(contract.output.classes, *(each.classes for each in contract.parameters.values()))
    return detection_of(charter).classes | declared


class Masking:
    """Masks what a model is to read, for one conversation."""

    def __init__(self, vault: Vault, classes: Classes) -> None:
        self._vault, self._classes = vault, classes
        self._back = _Back(classes.charter.detection)
        self._words = _Words(self._back)
        self.cost = classes.cost
        """See `Classes.cost`."""
        self.returning = Returning(vault, self._back)
        """What tokens stand for, to be put back."""
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._names: set[str] = set()
        self.thoughts = Thoughts()
        """What the model gave along with its words."""

    def text(self, text: str) -> str:
        """`text`, masked. A conversation is sent anew with every request, so what was masked is remembered."""
        if len(text) <= _SHORT:
            return str(self._mask(text))
        return str(self._masked("text", text.encode("utf-8", "surrogatepass"), text))

    def name(self, name: str) -> str:
        """What names a thing, masked."""
        if name in self._names:
            return name
        masked = self.text(name) if _SPACE.search(name) else str(self._mask(name, detection=self._words))
        if masked == name and len(name) <= _LONGEST_NAME:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names.add(name)
        return masked

    def value(self, value: Any) -> Any:
        """A value of JSON, masked; tools and earlier calls come anew with every request too. Nobody changes it."""
        return self._remembered("JSON", value)

    def definitions(self, value: Any) -> Any:
        """What defines tools, or names one, masked; no names are looked for in it. Nobody changes it."""
        return self._remembered("definitions", value, detection=self._words)

    def arguments(self, tool: str, arguments: Any) -> Any:
        """Arguments of a call, masked; all of them, where they cannot be read."""
        places = self._classes.of_arguments(tool)
        if not isinstance(arguments, dict):
            places = [(_ALL, name) for _, name in places]
        return self._remembered(f"arguments of {tool}", arguments, places)

    def standing_in(self, text: str) -> dict[str, str]:
        """Data class → a token in `text` that stands for a value of it."""
        found = ((self._vault.held(token), token) for _, _, token in tokens(text))
        return {held.data_class: token for held, token in found if held is not None}

    def again(self, tool: str, arguments: Any) -> Any:
        """Arguments of a call that is passed on, as they are masked when the client sends them again."""
        return self.arguments(tool, restore(arguments, self._vault, self._classes.restores))

    def placed(self, value: Any, places: Places) -> Any:
        """A value of JSON, masked, and all of what stands at `places`."""
        return self._mask(value, places)

    def own(self, part: Any) -> bool:
        """Whether the model gave this along with its words."""
        return part in self.thoughts

    def places(self, call: str) -> Places:
        """Where values stand in the result of a call: nowhere, in what the model gave along with its words."""
        return ()

    def sending(self, asked: Mapping[str, Collection[str]], earlier: Callable[[str], Collection[str]]) -> Sending:
        """Masks a request. `asked`: id → tools that calls in it are of; `earlier`: says so for other calls of the
        conversation, by their masked ids."""
        return Sending(self, self._classes, asked, earlier)

    def _remembered(self, kind: str, value: Any, places: Places = (), detection: Finds | None = None) -> Any:
        try:
            written = msgspec.json.encode(value)
        except (TypeError, ValueError):
            return self._mask(value, places, detection)
        return self._masked(kind, written, value, places, detection)

    def _mask(self, value: Any, places: Places = (), detection: Finds | None = None) -> Any:
        told = self._back if detection is None else detection
        return mask(value, self._vault, classes=self._classes.names, declared=places, detection=told)

    def _masked(
        self, kind: str, written: bytes, value: Any, places: Places = (), detection: Finds | None = None
    ) -> Any:
        digest = hashlib.sha256(kind.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(written)
        key = digest.digest()
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = self._mask(value, places, detection), len(written)
                self._size += len(written)
            self._known[key] = found
            while self._size > _MASKED and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1][1]
        return found[0]


class Sending:
    """Masks one request of a conversation: it knows which tools its results are of."""

    def __init__(
        self,
        masking: Masking,
        classes: Classes,
        asked: Mapping[str, Collection[str]],
        earlier: Callable[[str], Collection[str]],
    ) -> None:
        self._classes, self._asked, self._earlier = classes, asked, earlier
        self.text, self.name, self.value, self.own = masking.text, masking.name, masking.value, masking.own
        self.arguments, self.placed, self.definitions = masking.arguments, masking.placed, masking.definitions

    def places(self, call: str) -> Places:
        """Where values stand in the result of a call; all of it is one, where nobody knows what was called."""
        tools = {*self._asked.get(call, ()), *self._earlier(self.name(call))}
        if not tools:
            return self._classes.of_unknown()
        return [each for tool in sorted(tools) for each in self._classes.of_results(tool)]


__all__ = ["Classes", "Masking", "Returning", "Sending", "maskable"]
