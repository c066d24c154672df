"""What of a request goes to the provider, where data classes are masked.

Everything does, and all of it is masked, whatever it is called: texts, keys, numbers, and texts that are written in
base64 or as a `data:` URL. Where a contract says that values of a class stand in results, or in arguments, they are
masked whatever they look like; a result of which that is said, and which is no JSON, is one such value, and so is each
member beside it. These go on as they are:

1. words of the APIs (`user`, `input_text`), settings that are written like one unless a value is told in them, and
   the name of a model, which its provider knows, unless it is a value in a form of the charter's;
2. numbers that a setting is, right in the request, unless one is in a form of the charter's;
3. bytes that are no text: pictures, sound, what only the provider can read;
4. what the model itself gave along with its words in this conversation, which its provider has signed.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import quote, unquote

from fiducial.core.path import Path, PathPattern
from fiducial.flow.masking.detector import Found
from fiducial.flow.masking.values import Covers, Places
from fiducial.gateway.model.steps import Json, arguments_in, dumped, kind_of
from fiducial.gateway.model.thoughts import LABELS


class Mask(Protocol):
    """Masks texts and values of one conversation."""

    def text(self, text: str) -> str:
        """Text."""

    def name(self, name: str) -> str:
        """What names a thing, as text; most hold no value, and come again with every request."""

    def formed(self, text: str) -> Sequence[Found]:
        """Values in `text` in forms of the charter's own."""

    def value(self, value: Any) -> Any:
        """A value of JSON, with its keys."""

    def definitions(self, value: Any) -> Any:
        """What defines tools, or names one, with its keys: no prose that names of persons are looked for in."""

    def arguments(self, tool: str, arguments: Any) -> Any:
        """Arguments of a call."""

    def places(self, call: str) -> Places:
        """Where contracts say that values stand in the result of a call."""

    def results(self, tool: str) -> Places:
        """Where contracts say that values stand in the results of `tool`."""

    def placed(self, value: Any, places: Places) -> Any:
        """A value of JSON, and all of what stands at `places`."""

    def own(self, part: Any) -> bool:
        """Whether the model gave this, just so, along with its words."""


THOUGHTS: Final = frozenset(["compaction", "reasoning", "redacted_thinking", "thinking"])
"""Kinds of parts and items that a model gives along with its words."""
_NAMES: Final = frozenset(
    ["call_id", "detail", "file_id", "id", "media_type", "model", "name", "role", "status", "tool_call_id",
     "tool_use_id", "type"]
)  # fmt: skip
"""Members that mostly name things."""
_DEFINITIONS: Final = frozenset(["function_call", "functions", "tool_choice", "tools"])
"""Members of a request that define tools, or name one."""
_OF_CALL: Final = ("tool_call_id", "tool_use_id", "call_id")
"""Members that say of which call a result is."""
_CAME: Final = frozenset(["content", "output"])
"""Members that hold a result."""
_TELLS: Final = frozenset(["function", "tool"])
"""Roles of messages that are results."""
_RESULT: Final = re.compile(r"(?:\w+_)?tool_result|\w+_output")
"""Kinds of parts and items that are."""
_ACTS: Final = frozenset(["apply_patch_call", "computer_call", "local_shell_call"])
"""Kinds of calls of a tool that has no name, with its arguments beside what they are."""
_GIVEN: Final = frozenset(["arguments", "input"])
"""Members that hold what a tool is called with, beside its name."""
_BLOBS: Final = frozenset(
    ["audio_url", "b64_json", "data", "encrypted_content", "file_data", "file_url", "image_url", "result", "signature",
     "thought_signature", "url", "video_url"]
)  # fmt: skip
"""Members that can hold bytes."""
_PROSE: Final = frozenset(["", "content", "input", "output", "refusal", "summary", "text", "thinking", "title"])
"""Members whose names say nothing of the texts in them."""
_KINDS: Final = frozenset(
    ["assistant", "base64", "code_execution_result", "completed", "computer_screenshot", "custom", "custom_tool_call",
     "custom_tool_call_output", "developer", "document", "ephemeral", "file", "function", "function_call",
     "function_call_output", "image", "image_url", "in_progress", "incomplete", "input_audio", "input_file",
     "input_image", "input_text", "message", "output_text", "reasoning", "reasoning_text", "redacted_thinking",
     "refusal", "search_result", "summary_text", "system", "text", "thinking", "tool", "tool_result", "tool_use", "url",
     "user", "web_fetch_result", "web_search_result"]
)  # fmt: skip
"""What the APIs call roles, states, and kinds of parts."""
_WORDS: Final = _KINDS | frozenset(
    ["any", "auto", "default", "disabled", "enabled", "flex", "high", "low", "max", "medium", "minimal", "none",
     "priority", "required", "standard_only", "xhigh"]
)  # fmt: skip
"""Those, and the choices that they give: no values, though one that was put back reads the same."""
_PICTURES: Final = frozenset(
    ["application/pdf", "audio/mp3", "audio/mpeg", "audio/wav", "image/gif", "image/jpeg", "image/png", "image/webp"]
)
"""Media types of what is no text."""
_WORD: Final = re.compile(r"[a-z_]{1,64}[0-9]{0,8}")
"""How choices are written that an API gives."""
_MODEL: Final = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[\w.:/+-]{1,200}(?:@[\w-]{1,40})?", re.ASCII)
"""How models are named."""
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_LINES: Final = re.compile(r"\s*(?:[A-Za-z0-9+/_-]{60,}\s+)*[A-Za-z0-9+/_-]+={0,2}\s*")
"""Base64 as it is written: lines of 60 characters or more, where there are lines (RFC 2045, section 6.8)."""
_DATA: Final = re.compile(r"(data:[^,]{0,500},)(.*)", re.DOTALL | re.IGNORECASE)
"""RFC 2397: what it is, and the bytes."""
_LONGEST_KEY: Final = 1000
"""Characters of the longest value that looks like base64 itself: keys and tokens do."""
_LONGEST_WORD: Final = 256
"""Characters of what somebody may write without a space."""
_LOOK: Final = 4096
"""Bytes that say whether there is text in what they begin."""
_NO_TEXT: Final = frozenset([*range(9), *range(14, 27), *range(28, 32)])
"""Bytes that are in files, pictures and ciphers, and in no text."""
_ALL: Final = PathPattern("$")
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
    if value is None or isinstance(value, bool) or (key in settings and _is_setting(key, value, mask)):
        return value
    if key in _DEFINITIONS:
        return next(iter(mask.definitions({key: value}).values()))
    return _behind(key, value, mask)


def _behind(key: str, value: Any, mask: Mask) -> Any:
    """Behind its key: `{"password": …}` says more than what stands there."""
    return next(iter(mask.value({key: value}).values()))


def _is_setting(key: str, value: Any, mask: Mask) -> bool:
    if not isinstance(value, str):
        return isinstance(value, (int, float)) and not mask.formed(str(value))
    if key == "model":
        return _MODEL.fullmatch(value) is not None and all(len(value) > end - at for at, end, _ in mask.formed(value))
    return value in _WORDS or (_WORD.fullmatch(value) is not None and mask.name(value) == value)


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
        if places := _places(value, mask):
            return _result(value, mask, places)
        return _members(value, mask, lambda key, each: _beside(key, each, mask, value))
    return value if value is None or isinstance(value, bool) else _behind(given, value, mask)


def _beside(key: str, value: Any, mask: Mask, within: Json) -> Any:
    """A member of a message, a part or a call."""
    if key in _GIVEN and isinstance(tool := within.get("name"), str):
        return _arguments(key, value, mask, tool)
    if key not in _NAMES and (kind := kind_of(within)) in _ACTS:
        return next(iter(mask.arguments(kind.removesuffix("_call"), {key: value}).values()))
    return _member(key, value, mask)


def _arguments(key: str, value: Any, mask: Mask, tool: str) -> Any:
    """What a call of `tool` is given."""
    if not isinstance(value, str):
        return mask.arguments(tool, value)
    if key == "input":
        return mask.arguments(tool, {key: value})[key]
    read = arguments_in(value)
    return str(mask.arguments(tool, value)) if read is None else dumped(mask.arguments(tool, read))


def _call(value: Json) -> str | None:
    """The member that says of which call a result is."""
    return next((key for key in (*_OF_CALL, "id") if isinstance(value.get(key), str)), None)


def _places(value: Json, mask: Mask) -> Places:
    """Where values stand in a result; nowhere in what is none."""
    call, kind, tool = _call(value), kind_of(value), value.get("name")
    by_name = value.get("role") == "function" or kind.endswith("_call")
    # A call has an id too.
    came = not value.keys().isdisjoint(_CAME) and (call in _OF_CALL or kind.endswith("_call"))
    if not came and str(value.get("role")) not in _TELLS and _RESULT.fullmatch(kind) is None:
        return ()
    if by_name and call not in _OF_CALL and isinstance(tool, str):
        return mask.results(tool)
    return mask.places(value[call] if call is not None else "")


def _result(value: Json, mask: Mask, places: Places) -> Json:
    """What came of a call, with what stands beside it."""
    call, whole = _call(value), _everywhere(places)

    def member(key: str, each: Any) -> Any:
        if key in _CAME:
            return _came(each, mask, places)
        names = key in ("type", call) or (key in ("role", "status") and str(each) in _KINDS)
        if names or key in _GIVEN or (key == "name" and isinstance(each, str) and mask.results(each)):
            return _beside(key, each, mask, value)
        return _whole(key, each, mask, whole, value)

    return _members(value, mask, member)


def _everywhere(places: Places) -> Places:
    """All of it is one value."""
    return [(_ALL, name) for _, name in places[:1]]


class _Within:
    """Covers what is there in a value, or in the list of which the value is one member."""

    __slots__ = ("_index", "_place")

    def __init__(self, place: Covers, index: int) -> None:
        self._place, self._index = place, index

    def covers(self, path: Path) -> bool:
        """See `Covers`."""
        return self._place.covers(path) or self._place.covers((self._index, *path))


def _came(value: Any, mask: Mask, places: Places) -> Any:
    """What came of a call, in which values stand at `places`."""
    if isinstance(value, list):
        return [_part(each, mask, places, index) for index, each in enumerate(value)]
    return _part(value, mask, places, 0)


def _part(part: Any, mask: Mask, places: Places, index: int) -> Any:
    """A part of a result; `index`: programs write a list as a part for each of its members."""
    if isinstance(part, str):
        return _told(part, mask, [(_Within(place, index), name) for place, name in places])
    whole = _everywhere(places)
    if not isinstance(part, dict):
        return part if part is None else mask.placed(part, whole)
    if isinstance(part.get("text"), str):
        return _members(
            part,
            mask,
            lambda key, each: (
                _part(each, mask, places, index) if key == "text" else _whole(key, each, mask, whole, part)
            ),
        )
    return _members(part, mask, lambda key, each: _whole(key, each, mask, whole, part))


def _told(text: str, mask: Mask, places: Places) -> str:
    """A text of a result: JSON, or all of it is one value."""
    read = arguments_in(text)
    if isinstance(read, str):
        return dumped(_told(read, mask, places))
    if isinstance(read, (dict, list)):
        return dumped(mask.placed(read, places))
    return str(mask.placed(text, _everywhere(places)))


def _whole(key: str, value: Any, mask: Mask, whole: Places, within: Json) -> Any:
    """A member of a result, beside its texts: pictures pass, and words that say what stands there."""
    if isinstance(value, dict):
        return _members(value, mask, lambda key, each: _whole(key, each, mask, whole, value))
    if isinstance(value, list):
        return [_whole(key, each, mask, whole, within) for each in value]
    if value is None or isinstance(value, bool) or (isinstance(value, str) and _tells_what(key, value, within)):
        return value
    return mask.placed(value, whole)


def _tells_what(key: str, value: str, within: Json) -> bool:
    """Whether a member is what only says of what kind `within` is, or how it is to be looked at; or bytes."""
    match key:
        case "type":
            return value in _KINDS
        case "media_type":
            return value in _PICTURES or value == "text/plain"
        case "detail":
            return "image_url" in within and value in ("auto", "high", "low")
        case "ttl":
            return within.get("type") == "ephemeral" and value in ("1h", "5m")
    return key in _BLOBS and _is_bytes(value, str(within.get("media_type")))


def _member(key: str, value: Any, mask: Mask) -> Any:
    if key in _GIVEN and isinstance(value, dict):
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
        return text if text in _WORDS else mask.name(text)
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


def _is_bytes(text: str, media: str) -> bool:
    """Whether `text` is base64, alone or in a URL, of what is no text: a word can be base64 of anything, so one that
    is no longer has to be said to be a picture."""
    if (url := _DATA.fullmatch(text)) is not None:
        media, text = re.split("[;,]", url[1][len("data:") :])[0].lower(), unquote(url[2])
    packed = "".join(text.split())
    if len(packed) < _LONGEST_WORD and media not in _PICTURES:
        return False
    try:
        raw = base64.b64decode(_padded(packed)) if _LINES.fullmatch(text) else b""
        return bool(raw) and not _codec(raw[:_LOOK])
    except binascii.Error:
        return False


def _of_base64(text: str, mask: Mask) -> str:
    """Base64, with what is masked of the text in it, if there is one."""
    packed = "".join(text.split())
    if _BASE64.fullmatch(packed) is None:
        return mask.text(text)
    if (len(text) < _LONGEST_KEY or _LINES.fullmatch(text) is None) and (found := mask.text(text)) != text:
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
