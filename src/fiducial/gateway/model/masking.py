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
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from fiducial.charter.model import Charter
from fiducial.core.path import Path, PathPattern
from fiducial.flow import lexer
from fiducial.flow.masking.detect import Detection
from fiducial.flow.masking.detector import Found
from fiducial.flow.masking.tokens import tokens
from fiducial.flow.masking.values import Finds, Holds, Places, mask, mask_with, restore
from fiducial.flow.masking.vault import Held, Vault
from fiducial.gateway.model.thoughts import Thoughts
from fiducial.guard.guard import InForce
from fiducial.guard.tool import detection_of

_MASKED: Final = 2**22
"""Characters of one conversation whose masked form is remembered."""
_ENTRY: Final = 200
"""Characters that one that is remembered counts for at least: remembering it takes as much."""
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
_WORDS_OF_ONE: Final = 32
"""Words, and signs between them, of the longest stretch that is told as a whole."""
_WORD: Final = re.compile(r"[0-9A-Za-z]+|[^0-9A-Za-z]")
_PRIME: Final = 2**61 - 1
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

    @property
    def declared(self) -> bool:
        """Some contract says where values of them stand."""
        return bool(self.of_unknown()) or any(map(self.of_arguments, self.charter.tools))

    def _in_order(self, names: Collection[str]) -> list[str]:
        return sorted(self.names.intersection(names), key=lambda name: (name in self.restores, name))


class _Back:
    """Values that are told when they come again in one conversation; none is kept in clear.

    Texts are read in words: as many letters and digits of ASCII as stand together, or any other character. A value of
    at most `_WORDS_OF_ONE` words is told as a whole, a longer one by stretches of so many, so that at each word there
    are at most so many lengths to look for, however many values begin alike.
    """

    def __init__(self, detection: Detection | _Back) -> None:
        self._detection = detection
        self._base = _PRIME // 2 + int.from_bytes(os.urandom(7), "big")
        self._values: dict[tuple[int, int], str] = {}
        """How many words there are in a stretch, and their keyed hash → class."""
        self._lengths: dict[int, tuple[int, ...]] = {}
        """Hash of the first word → how many there are in stretches that begin so, the most first."""
        self._powers = [pow(self._base, size, _PRIME) for size in range(_WORDS_OF_ONE + 1)]

    def add(self, value: Held) -> None:
        """It is told from now on."""
        text = str(value.value)
        words = _WORD.findall(text) if _says(text) else []
        size = min(len(words), _WORDS_OF_ONE)
        starts = {*range(0, len(words) - size + 1, _WORDS_OF_ONE), len(words) - size} if words else ()
        for start in starts:
            stretch = words[start : start + size]
            key = size, self._until([hash(word) for word in stretch])[-1]
            if key not in self._values and (size == len(words) or _says("".join(stretch))):
                self._values[key] = value.data_class
                head = hash(stretch[0])
                self._lengths[head] = tuple(sorted({*self._lengths.get(head, ()), size}, reverse=True))

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
        if not self._lengths:
            return found
        words = _WORD.findall(text)
        hashes = [hash(word) for word in words]
        lengths = self._lengths
        heads = [at for at, head in enumerate(hashes) if head in lengths]
        if not heads:
            return found
        until, ends = self._until(hashes), list(accumulate(map(len, words), initial=0))
        told: list[Found] = []
        for at in heads:
            for size in lengths[hashes[at]]:
                end = at + size
                if end >= len(until):
                    continue
                name = self._values.get((size, (until[end] - until[at] * self._powers[size]) % _PRIME))
                if name is not None:
                    _cover(told, Found(ends[at], ends[end], name), whole=size < _WORDS_OF_ONE)
                    break
        return found + told

    def _until(self, hashes: Sequence[int]) -> list[int]:
        """Keyed hashes of so many of the words from the first on (Rabin and Karp's, with a secret base)."""
        base = self._base
        return list(accumulate(hashes, lambda before, each: (before * base + each) % _PRIME, initial=0))


def _cover(told: list[Found], new: Found, *, whole: bool) -> None:
    """Add what begins no sooner than the last that was told. What lies in that says nothing new; what goes on from it
    is one value with it: stretches of a long one stand side by side."""
    last = told[-1] if told else Found(0, 0, "")
    if new.end <= last.end:
        return
    if new.data_class == last.data_class and (new.start < last.end or (new.start == last.end and not whole)):
        told[-1] = Found(last.start, new.end, last.data_class)
    else:
        told.append(new)


def _says(text: str) -> bool:
    """Whether it is a value wherever it stands, and no word or number that anybody may use."""
    signs = [sign for sign in text if sign.isalnum()]
    if len(signs) < _SHORTEST + (not any(map(str.isalpha, signs))):
        return False
    return text.strip().lower() not in _WORDS


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
        """See `Vault.held`. It may be put back now, so it is known again, also where the token stays after all: in a
        link, or where a call is denied."""
        found = self._vault.held(token)
        if found is not None:
            self._back.add(found)
        return found


class Granted:
    """What tokens stand for, of those that policies let go to the client in the texts of one answer."""

    def __init__(self, values: Holds) -> None:
        self._values = values
        self._tokens: set[str] = set()

    def add(self, token: str) -> None:
        """It may."""
        self._tokens.add(token)

    def clear(self) -> None:
        """None may, until that is decided anew."""
        self._tokens.clear()

    def held(self, token: str) -> Held | None:
        """See `Vault.held`."""
        return self._values.held(token) if token in self._tokens else None


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
        self._stood = _Back(self._back)
        """Besides, what stands in requests where contracts have values: it is told in what people and models say."""
        self._words, self._names_of = _Words(self._back), _Words(self._stood)
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
        """`text`, masked. A conversation is sent anew with every request, so what was masked is remembered, and goes
        on as the provider was told it when more values are known."""
        return str(self._masked("text", text.encode("utf-8", "surrogatepass"), text))

    def given(self, text: str) -> str:
        """A text that the client gets, as it is masked when that sends it along: with all that is known by now, though
        somebody may have said the same before."""
        return str(self._masked("text", text.encode("utf-8", "surrogatepass"), text, anew=True))

    def name(self, name: str) -> str:
        """What names a thing, masked."""
        if name in self._names:
            return name
        masked = self.text(name) if _SPACE.search(name) else str(self._mask(name, detection=self._names_of))
        if masked == name and len(name) <= _LONGEST_NAME:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names.add(name)
        return masked

    def formed(self, text: str) -> list[Found]:
        """Values in `text` in forms of the charter's own."""
        return self._classes.charter.detection.formed(text, self._classes.names)

    def value(self, value: Any) -> Any:
        """A value of JSON, masked; tools and earlier calls come anew with every request too. Nobody changes it."""
        return self._remembered("JSON", value, detection=self._back)

    def definitions(self, value: Any) -> Any:
        """What defines tools, or names one, masked; no names are looked for in it. Nobody changes it."""
        return self._remembered("definitions", value, detection=self._words)

    def arguments(self, tool: str, arguments: Any) -> Any:
        """Arguments of a call, masked; all of them, where they cannot be read."""
        return self._remembered(f"arguments of {tool}", arguments, self.places_in(tool, arguments))

    def places_in(self, tool: str, arguments: Any) -> Places:
        """Where values stand in `arguments` of a call: everywhere, where they cannot be read."""
        places = self._classes.of_arguments(tool)
        return places if isinstance(arguments, dict) else [(_ALL, name) for _, name in places]

    def learn(self, value: Any, places: Places) -> None:
        """What stands at `places` in a value of JSON is told in texts from now on."""

        def put(each: Any, data_class: str) -> str:
            self._stood.add(Held(data_class, each))
            return ""

        mask_with(value, lambda _: (), put, places)

    def outside(self, value: Any) -> Any:
        """See `Unmasks`."""
        return restore(value, self._vault, self._classes.names)

    def standing_in(self, text: str) -> dict[str, str]:
        """Token → data class of what it stands for, for each token in `text` in its order."""
        found = ((self._vault.held(token), token) for _, _, token in tokens(text))
        return {token: held.data_class for held, token in found if held is not None}

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

    def results(self, tool: str) -> Places:
        """As `places`."""
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
        detection = detection or self._stood
        return mask(value, self._vault, classes=self._classes.names, declared=places, detection=detection)

    def _masked(
        self, kind: str, written: bytes, value: Any, places: Places = (), detection: Finds | None = None, *,
        anew: bool = False,
    ) -> Any:  # fmt: skip
        digest = hashlib.sha256(kind.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(written)
        key, size = digest.digest(), max(len(written), _ENTRY)
        with self._lock:
            found = self._known.pop(key, None)
            if found is not None and anew:
                self._size -= size
                found = None
            if found is None:
                found = self._mask(value, places, detection), size
                self._size += size
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
        self.arguments, self.placed, self.formed = masking.arguments, masking.placed, masking.formed
        self.definitions = masking.definitions
        self.learning = Learning(masking, self) if classes.declared else None
        """Goes through the request before; `None`: there is nothing to learn."""

    def results(self, tool: str) -> Places:
        """Where values stand in the results of `tool`."""
        return self._classes.of_results(tool)

    def places(self, call: str) -> Places:
        """Where values stand in the result of a call; all of it is one, where nobody knows what was called."""
        tools = {*self._asked.get(call, ()), *self._earlier(self.name(call))}
        if not tools:
            return self._classes.of_unknown()
        return [each for tool in sorted(tools) for each in self._classes.of_results(tool)]


class Learning:
    """Goes through a request before it is masked, and changes nothing: what stands where contracts have values of a
    class is told in its texts then, whatever was forgotten of the conversation."""

    def __init__(self, masking: Masking, sending: Sending) -> None:
        self._masking, self.own, self.formed = masking, masking.own, masking.formed
        self.places, self.results = sending.places, sending.results

    def text(self, text: str) -> str:
        """As it is."""
        return text

    def name(self, name: str) -> str:
        """As it is."""
        return name

    def value(self, value: Any) -> Any:
        """As it is."""
        return value

    def definitions(self, value: Any) -> Any:
        """As it is."""
        return value

    def arguments(self, tool: str, arguments: Any) -> Any:
        """Learns from arguments of a call."""
        self._masking.learn(arguments, self._masking.places_in(tool, arguments))
        return arguments

    def placed(self, value: Any, places: Places) -> Any:
        """Learns from a value of JSON."""
        self._masking.learn(value, places)
        return value


__all__ = ["Classes", "Granted", "Learning", "Masking", "Returning", "Sending", "maskable"]
