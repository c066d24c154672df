"""What of a request goes to a provider, with a mask that knows one value; and how parts are known again."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fiducial.core.path import PathPattern
from fiducial.gateway.model.outgoing import masked, masked_part
from fiducial.gateway.model.steps import beside, texts_in
from fiducial.gateway.model.thoughts import Thoughts, together

VALUE, TOKEN = "ann.fox@example.org", "masked-contact-0"
SAID, SETTINGS = frozenset(["messages"]), frozenset(["model", "n", "stop", "tools", "user"])


class Mask:
    """Masks `VALUE`, and the number 4111111111111111."""

    def __init__(self, *own: Any) -> None:
        self._own = own

    def text(self, text: str) -> str:
        return text.replace(VALUE, TOKEN)

    name = text

    def value(self, value: Any) -> Any:
        return json.loads(json.dumps(value).replace(VALUE, TOKEN).replace("4111111111111111", f'"{TOKEN}"'))

    definitions = value

    def formed(self, text: str) -> Any:
        return ()

    def arguments(self, tool: str, arguments: Any) -> Any:
        return self.value(arguments)

    def places(self, call: str) -> Any:
        return ()

    results = places

    def placed(self, value: Any, places: Any) -> Any:
        raise AssertionError("no contract says anything")

    def own(self, part: Any) -> bool:
        return part in self._own


def wrapped(text: str) -> st.SearchStrategy[str]:
    """`text`, in the forms in which an API takes it."""
    packed = base64.b64encode(text.encode()).decode()
    wide, latin = text.encode("utf-16"), f"\xe9 {text}".encode("latin-1")
    return st.sampled_from(
        [
            text, f"before {text} after", packed, packed.rstrip("="), f"{packed[:20]}\n{packed[20:]}", f"data:{text},x",
            f"data:text/plain;base64,{packed}", f"DATA:text/csv;BASE64,{packed}", f"data:,{quote(text)}",
            base64.b64encode(wide).decode(), base64.b64encode(latin).decode(),
        ]
    )  # fmt: skip


KEYS = st.sampled_from(
    ["arguments", "content", "data", "detail", "encrypted_content", "file_data", "id", "image_url", "input", "messages",
     "model", "name", "reasoning_content", "result", "role", "signature", "stop", "text", "thinking", "tools", "type",
     "url", "user", "x y"]
)  # fmt: skip
WORDS = st.sampled_from(
    ["", "user", "input_text", "thinking", "reasoning", "Hello there", "call_9f", "https://x.example"]
)
LEAVES = WORDS | st.integers(-5, 10**17) | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
    )


BODIES = st.dictionaries(KEYS, trees(LEAVES), max_size=5)
TAKEN_OFF = {"data", "encrypted_content", "file_data", "image_url", "result", "signature", "url"}


def plain(value: Any) -> str:
    """All of the text in `value`, with what stands there in base64."""
    if isinstance(value, dict):
        return " ".join(f"{key} {plain(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " ".join(map(plain, value))
    text = "".join(str(value).rpartition(",")[2].split()).rstrip("=")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return str(value)
    return " ".join([str(value), *(raw.decode(codec, "replace") for codec in ("utf-8", "utf-16", "latin-1"))])


@example({"messages": [{"type": ["thinking"]}]})
@given(BODIES)
def test_a_request_without_a_value_passes_as_it_is(body: dict[str, Any]) -> None:
    assert masked(body, Mask(), SAID, SETTINGS) == body


@given(BODIES, KEYS, st.data())
def test_no_value_passes_however_it_is_written(body: dict[str, Any], key: str, data: Any) -> None:
    written = data.draw(wrapped(VALUE) if key in TAKEN_OFF else st.just(VALUE))
    parts = {key: written}, {"content": [{"type": "x", key: written}]}, {key: [written]}, {VALUE: 1}
    part = data.draw(st.sampled_from(parts))
    place = data.draw(st.sampled_from(["messages", "new", "stop", "metadata"]))
    if place != "messages":
        part = json.loads(json.dumps(part).replace(json.dumps(written)[1:-1], VALUE))
    sent = masked(body | {place: [part]}, Mask(), SAID, SETTINGS)
    assert VALUE not in plain(sent)
    assert quote(VALUE) not in plain(sent)
    assert TOKEN in plain(sent)


class Described(Mask):
    """With a contract that says of every result where values stand in it."""

    def places(self, call: str) -> Any:
        return ((PathPattern("$.iban"), "payment"),)

    results = places

    def placed(self, value: Any, places: Any) -> Any:
        return self.value(value)


@pytest.mark.parametrize("key", ["role", "status", "type", "name"])
def test_no_value_passes_where_a_word_of_the_api_stands(key: str) -> None:
    part = {"role": "tool", "tool_call_id": "a", "content": "x"} | {key: [VALUE]}
    for mask in (Mask(), Described()):
        sent = masked({"messages": [part]}, mask, SAID, SETTINGS)
        assert VALUE not in plain(sent)
        assert TOKEN in plain(sent)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "thinking", "thinking": VALUE, "signature": "x"},
        {"role": "assistant", "reasoning_details": [{"text": VALUE}]},
        {"type": "reasoning", "summary": [{"text": VALUE}], "encrypted_content": "x"},
    ],
)
def test_only_what_the_model_gave_passes_unmasked(part: dict[str, Any]) -> None:
    own = {key: each for key, each in part.items() if key != "role"}
    assert masked_part(part, Mask(own)) == part
    assert VALUE not in json.dumps(masked_part(part, Mask()))
    assert VALUE not in json.dumps(masked_part({"type": "text", "text": VALUE} | {"thinking": VALUE}, Mask(own)))


def test_labels_by_which_it_is_not_known_again_are_masked() -> None:
    given = {"type": "reasoning", "summary": [{"text": VALUE, "id": "a"}], "id": "rs_1", "status": "done", "index": 3}
    other = given | {"summary": [{"text": VALUE, "id": VALUE}], "status": VALUE, "index": 4111111111111111}

    class Known(Mask):
        def own(self, part: Any) -> bool:
            return True

    assert masked_part(given, Known()) == given
    masked = {"summary": [{"text": VALUE, "id": TOKEN}], "status": TOKEN, "index": TOKEN}
    assert masked_part(other, Known()) == given | masked


def test_two_keys_never_become_one() -> None:
    with pytest.raises(ValueError, match="two keys"):
        masked_part({VALUE: 1, TOKEN: 2}, Mask())
    with pytest.raises(ValueError, match="two keys"):
        masked({VALUE: 1, TOKEN: 2}, Mask(), SAID, SETTINGS)


PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0" + VALUE.encode() * 50).decode()


@pytest.mark.parametrize("text", [PICTURE, f"data:image/png;base64,{PICTURE}"])
def test_bytes_that_are_no_text_pass(text: str) -> None:
    assert masked_part({"url": text, "data": text}, Mask()) == {"url": text, "data": text}


# --- parts that are known again


@given(st.dictionaries(st.sampled_from(["text", "signature"]), st.text(min_size=1), min_size=1), st.data())
def test_a_part_is_known_however_it_was_split(part: dict[str, str], data: Any) -> None:
    thoughts, pieces = Thoughts(), []
    for key, text in part.items():
        cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)))
        ends = [0, *cuts, len(text)]
        pieces += [[{"index": 0, "type": "x", key: text[one:other]}] for one, other in pairwise(ends)]
    whole = [{"index": 0, "type": "x"} | part]
    assert together(pieces) == whole
    thoughts.add({"details": together(pieces)})
    assert {"details": [{"type": "x", "id": None, "status": "done"} | part]} in thoughts
    key = data.draw(st.sampled_from(sorted(part)))
    assert {"details": [{"type": "x"} | part | {key: part[key] + "."}]} not in thoughts
    assert {"details": [{"type": "x"} | part | {"id": "a sentence with words"}]} not in thoughts


def test_the_oldest_parts_make_room() -> None:
    thoughts = Thoughts(2)
    for text in ("a", "b", "c"):
        thoughts.add({"text": text})
    assert [{"text": text} in thoughts for text in ("a", "b", "c")] == [False, True, True]


@given(trees(LEAVES))
def test_what_has_words_in_it_is_beside_what_is_known(value: Any) -> None:
    found = list(beside({"role": "user", "new": value}, {"role"}))
    assert [each.value for each in found] == ([{"new": value}] if list(texts_in(value)) else [])
