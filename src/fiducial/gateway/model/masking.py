"""What a provider does not get of a conversation: values of data classes, with tokens in their places."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Any, Final

import msgspec

from fiducial.charter.model import Charter
from fiducial.flow.masking.values import mask
from fiducial.flow.masking.vault import Vault
from fiducial.gateway.model.thoughts import Thoughts
from fiducial.guard.guard import InForce
from fiducial.guard.tool import detection_of

_MASKED: Final = 2**22
"""Characters of one conversation whose masked form is remembered."""
_SHORT: Final = 64
"""Characters of a text that is masked as fast as it is found again."""
MASKING: Final = 32
"""How many times as long as it takes to read a text it may take to mask it."""
_LONGEST_NAME: Final = 200
"""Characters of a name that is remembered to hold no value."""
_NAMES: Final = 10_000
"""Names that are remembered."""


class Classes(msgspec.Struct, frozen=True):
    """Data classes that are masked, and the charter by which their values are told."""

    names: frozenset[str]
    charter: InForce


def maskable(charter: Charter) -> frozenset[str]:
    """Data classes of which something can be masked under `charter`: those that can be told from text."""
    return detection_of(charter).classes


class Masking:
    """Masks what a model is to read, for one conversation."""

    def __init__(self, vault: Vault, classes: Classes) -> None:
        self.vault, self._classes = vault, classes
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
        return str(self._masked(b"text", text.encode("utf-8", "surrogatepass"), text))

    def name(self, name: str) -> str:
        """What names a thing, masked."""
        if name in self._names:
            return name
        masked = self.text(name)
        if masked == name and len(name) <= _LONGEST_NAME:
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names.add(name)
        return masked

    def value(self, value: Any) -> Any:
        """A value of JSON, masked; tools and earlier calls come anew with every request too. Nobody changes it."""
        try:
            written = msgspec.json.encode(value)
        except (TypeError, ValueError):
            return self._mask(value)
        return self._masked(b"JSON", written, value)

    def own(self, part: Any) -> bool:
        """Whether the model gave this along with its words."""
        return part in self.thoughts

    def _mask(self, value: Any) -> Any:
        return mask(value, self.vault, classes=self._classes.names, detection=self._classes.charter.detection)

    def _masked(self, kind: bytes, written: bytes, value: Any) -> Any:
        digest = hashlib.sha256(kind)
        digest.update(written)
        key = digest.digest()
        with self._lock:
            found = self._known.pop(key, None)
            if found is None:
                found = self._mask(value), len(written)
                self._size += len(written)
            self._known[key] = found
            while self._size > _MASKED and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1][1]
        return found[0]


__all__ = ["MASKING", "Classes", "Masking", "maskable"]
