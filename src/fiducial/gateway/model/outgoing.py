"""What of a request goes to the provider, where data classes are masked.

Everything does, and all of it is masked, whatever it is called: texts, keys, numbers, and texts that are written in
base64 or as a `data:` URL. These go on as they are:

1. words of an API (`user`, `input_text`), which no value of a class can be;
2. numbers that a setting is, right in the request;
3. bytes that are no text: pictures, sound, what only the provider can read;
4. what the model itself gave along with its words in this conversation, which its provider has signed.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

from fiducial.gateway.model.steps import Json, arguments_in, dumped, kind_of
from fiducial.gateway.model.thoughts import LABELS


class Mask(Protocol):
    """Masks texts and values of one conversation."""

    def text(self, text: str) -> str:
        """Text."""

    def name(self, name: str) -> str:
        """What names a thing, as text; most hold no value, and come again with every request."""

    def value(self, value: Any) -> Any:
        """A value of JSON, with its keys."""

    def own(self, part: Any) -> bool:
        """Whether the model gave this, just so, along with its words."""


THOUGHTS: Final = frozenset(["compaction", "reasoning", "redacted_thinking", "thinking"])
"""Kinds of parts and items that a model gives along with its words."""
_NAMES: Final = frozenset(
    ["call_id", "detail", "file_id", "id", "media_type", "model", "name", "role", "status", "tool_call_id",
     "tool_use_id", "type"]
)  # fmt: skip
"""Members that mostly name things."""
_BLOBS: Final = frozenset(
    ["audio_url", "b64_json", "data", "encrypted_content", "file_data", "file_url", "image_url", "result", "signature",
     "thought_signature", "url", "video_url"]
)  # fmt: skip
"""Members that can hold bytes."""
_PROSE: Final = frozenset(["", "content", "input", "output", "refusal", "summary", "text", "thinking", "title"])
"""Members whose names say nothing of the texts in them."""
_WORD: Final = re.compile(r"[a-z_]{1,64}[0-9]{0,8}")
"""Words of an API: no value of a class is written like that."""
_MODEL: Final = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[\w.:/+-]{1,200}(?:@[\w-]{1,40})?", re.ASCII)
"""How models are named."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_DATA: Final = re.compile(r"(data:[^,]{0,500},)(.*)", re.DOTALL | re.IGNORECASE)
"""RFC 2397: what it is, and the bytes."""
_LONGEST_KEY: Final = 1000
"""Characters of the longest value that looks like base64 itself: keys and tokens do."""
_LOOK: Final = 4096
"""Bytes that say whether there is text in what they begin."""
_NO_TEXT: Final = frozenset([*range(9), *range(14, 27), *range(28, 32)])
"""Bytes that are in files, pictures and ciphers, and in no text."""
_STANDARD: Final = str.maketrans("-_", "+/")


def masked(body: Json, mask: Mask, said: frozenset[str], settings: frozenset[str]) -> Json:
    """A request, masked; `said`: members that messages are in, `settings`: members that a number may be in. Raises
    `ValueError` where two keys of an object would become one."""
    return _members(
        body, mask, lambda key, each: _message(each, mask, key) if key in said else _setting(key, each, mask, settings)
    )


def _members(value: Json, mask: Mask, member: Callable[[str, Any], Any]) -> Json:
    found = {mask.name(key): member(key, each) for key, each in value.items()}
    if len(found) != len(value):
        raise ValueError("two keys of an object would become one")
    return found


def _setting(key: str, value: Any, mask: Mask, settings: frozenset[str]) -> Any:
    if value is None or isinstance(value, bool) or (key in settings and _is_setting(key, value)):
        return value
    return _behind(key, value, mask)


def _behind(key: str, value: Any, mask: Mask) -> Any:
    """Behind its key: `{"password": …}` says more than what stands there."""
    return next(iter(mask.value({key: value}).values()))


def _is_setting(key: str, value: Any) -> bool:
    if isinstance(value, str):
        return (_MODEL if key == "model" else _WORD).fullmatch(value) is not None
    return isinstance(value, (int, float))


def masked_part(value: Any, mask: Mask) -> Any:
    """A part of a message, or of what a model gave along with its words, masked."""
    return _message(value, mask, "")


def _message(value: Any, mask: Mask, given: str) -> Any:
    """`given`: the key that `value` stands under."""
    if isinstance(value, str):
        return _text(value, mask, given)
    if isinstance(value, list):
        return [_message(each, mask, given) for each in value]
    if isinstance(value, dict):
        if kind_of(value) in THOUGHTS and mask.own(value):
            return _labelled(value, mask)
        return _members(value, mask, lambda key, each: _member(key, each, mask))
    return value if value is None or isinstance(value, bool) else _behind(given, value, mask)


def _member(key: str, value: Any, mask: Mask) -> Any:
    if key in ("arguments", "input") and isinstance(value, dict):
        return mask.value(value)
    if key.startswith("reasoning") and mask.own({key: value}):
        return _labelled(value, mask)
    return _message(value, mask, key)


def _labelled(value: Any, mask: Mask) -> Any:
    """What the model gave, as it is, but for the labels in it: by those, it is not known again."""
    if isinstance(value, list):
        return [_labelled(each, mask) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: _message(each, mask, key) if key in LABELS else _labelled(each, mask) for key, each in value.items()}


def _text(text: str, mask: Mask, given: str) -> str:
    if given in _NAMES:
        return text if _WORD.fullmatch(text) else mask.name(text)
    if given in _BLOBS:
        return _blob(text, mask)
    if given == "arguments":
        read = arguments_in(text)
        return mask.text(text) if read is None else dumped(mask.value(read))
    return mask.text(text) if given in _PROSE else str(_behind(given, text, mask))


def _blob(text: str, mask: Mask) -> str:
    """What can be text, a URL, or bytes."""
    url = _DATA.fullmatch(text)
    if url is None:
        return _of_base64(text, mask)
    head, rest = mask.text(url[1]), unquote(url[2])
    if head.lower().endswith(";base64,"):
        return head + _of_base64(rest, mask)
    found = mask.text(rest)
    return head + (url[2] if found == rest else quote(found))


def _of_base64(text: str, mask: Mask) -> str:
    """Base64, with what is masked of the text in it, if there is one."""
    packed = "".join(text.split())
    if _BASE64.fullmatch(packed) is None:
        return mask.text(text)
    if len(text) < _LONGEST_KEY and (found := mask.text(text)) != text:
        return found
    try:
        raw = base64.b64decode(_padded(packed))
        codec = _codec(raw[:_LOOK])
        plain = raw.decode(codec) if codec else ""
    except (UnicodeDecodeError, binascii.Error):
        return text
    found = mask.text(plain)
    return text if found == plain else base64.b64encode(found.encode(codec)).decode()


def _padded(text: str) -> str:
    text = text.rstrip("=").translate(_STANDARD)
    return text + "=" * (-len(text) % 4)


def _codec(head: bytes) -> str:
    """How the text is written that begins with `head`; empty where it is none."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if not _NO_TEXT.isdisjoint(head):
        return ""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


__all__ = ["THOUGHTS", "Mask", "masked", "masked_part"]
