"""OpenAI's Responses (https://platform.openai.com/docs/api-reference/responses)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from fiducial.core.event import Authority
from fiducial.gateway.model.api import check_tools, listed
from fiducial.gateway.model.outgoing import Mask, masked
from fiducial.gateway.model.responses_answers import CALLS, TEXTS, ResponsesEdit, asked_in, besides_call, edited
from fiducial.gateway.model.steps import Came, Json, Own, Part, Said, Step, beside, kind_of, result_of, texts_of
from fiducial.gateway.model.turn import Turn
from fiducial.gateway.refusals import Refused

_AUTHORITIES: Final[Mapping[str, Authority]] = {"system": "system", "developer": "operator", "user": "user"}
_SETTINGS: Final = frozenset(
    ["background", "context_management", "include", "max_output_tokens", "max_tool_calls", "metadata", "model",
     "parallel_tool_calls", "previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning",
     "safety_identifier", "service_tier", "store", "stream", "stream_options", "temperature", "text", "tool_choice",
     "tools", "top_logprobs", "top_p", "truncation", "user"]
)  # fmt: skip
"""Members of a request that set something; the model reads none of them as what somebody said."""
_TOOLS: Final = frozenset(["apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell"])
"""Kinds of tools that the client runs."""
_MESSAGE: Final = frozenset(["content", "role", "type"])
_OUTPUT: Final = frozenset(["call_id", "output", "type"])


class Responses:
    """See `fiducial.gateway.model.api.Api`."""

    path, counts = "responses", "responses/input_tokens"

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """See `Api.check`."""
        if body.get("background"):
            raise Refused(400, "answers in the background are not passed on: they would be fetched past this gateway")
        if body.get("conversation"):
            raise Refused(
                400, "conversations at the provider are not passed on: nobody here knows what is in them, or whose they"
                " are; go on from an answer by `previous_response_id`"
            )  # fmt: skip
        if not isinstance(body.get("input", ""), str):
            listed(body["input"], "input")
        wanted = {str(tool.get("type")) for tool in listed(body.get("tools") or [], "tools")} - _TOOLS
        if body.get("prompt") is not None:
            wanted.add("prompt")
        check_tools(wanted, provider_tools)

    def history(self, body: Json) -> tuple[list[Any], str]:
        """See `Api.history`."""
        given = body.get("input", "")
        items = given if isinstance(given, list) else [given]
        earlier = str(body.get("previous_response_id") or "")
        return [each for each in items if _role(each) not in ("system", "developer")], earlier

    def steps(self, body: Json) -> Iterator[Step]:
        """See `Api.steps`."""
        yield from beside(body, _SETTINGS | {"input", "instructions"}, "a member of a request")
        instructions = body.get("instructions")
        if isinstance(instructions, str):
            yield Said("system", instructions)
        elif instructions:
            yield Part("instructions that are no text", instructions)
        for item in _items(body):
            yield from _of_item(item)

    def prompted(self, body: Json, prompt: str) -> Json:
        """See `Api.prompted`."""
        own = body.get("instructions")
        return body | {"instructions": f"{prompt}\n\n{own}" if own else prompt}

    def masked(self, body: Json, mask: Mask) -> Json:
        """See `Api.masked`."""
        return masked(body, mask, frozenset(["input", "instructions"]), _SETTINGS)

    def settled(self, body: Json, owed: list[Json], given: Container[str]) -> Json:
        """See `Api.settled`. What the provider has not given in this conversation goes without a name: by its name it
        would find what it has given to somebody else."""
        items = _items(body)
        named = [_named(each, given) for each in items]
        return body if named == items and not owed else body | {"input": [*owed, *named]}

    def looks_up(self, body: Json) -> bool:
        """See `Api.looks_up`: the answer says it."""
        return False

    def in_json(self, body: Json) -> bool:
        """See `Api.in_json`."""
        text = body.get("text")
        wanted = text.get("format") if isinstance(text, dict) else None
        return isinstance(wanted, dict) and wanted.get("type") != "text"

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        return await edited(answer, turn)

    def editing(self, turn: Turn) -> ResponsesEdit:
        """See `Api.editing`."""
        return ResponsesEdit(turn)


def _role(item: Any) -> Any:
    return item.get("role") if isinstance(item, dict) else None


def _items(body: Json) -> list[Json]:
    given = body.get("input", [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _refers(item: Json) -> bool:
    """The item says nothing but the name of one that the provider has."""
    return item.get("type") == "item_reference" or ("role" not in item and item.get("type") is None)


def _named(item: Json, given: Container[str]) -> Json:
    name = item.get("id")
    if name is None or (isinstance(name, str) and name in given):
        return item
    if _refers(item):
        raise Refused(404, "the input refers to an item that this gateway has not seen in this conversation")
    return {key: value for key, value in item.items() if key != "id"}


def _of_item(item: Json) -> Iterator[Step]:
    kind, role = "message" if item.get("type") is None else kind_of(item), str(item.get("role"))
    if kind == "message" and (role in _AUTHORITIES or role == "assistant"):
        for part in texts_of(item.get("content"), TEXTS):
            if not isinstance(part, str):
                yield part
            elif role == "assistant":
                yield Own(part)
            else:
                yield Said(_AUTHORITIES[role], part)
        yield from beside(item, _MESSAGE, "a member of a message")
    elif kind in CALLS:
        yield asked_in(item)
        yield from besides_call(item)
    elif kind.endswith("_output") and kind.removesuffix("_output") in CALLS:
        output = item.get("output")
        call = str(item.get("call_id") or item.get("id", ""))
        yield Came(call, output if isinstance(output, dict) else result_of(output, TEXTS))
        yield from beside(item, _OUTPUT, "a member of a result")
    else:
        yield Part(f"an item of a conversation: {kind}", item)


__all__ = ["Responses"]
