"""OpenAI's Chat Completions (https://platform.openai.com/docs/api-reference/chat), which most providers speak."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any, Final

from fiducial.core.event import Authority
from fiducial.gateway.model.api import check_tools, listed
from fiducial.gateway.model.chat_answers import CALL, MESSAGE, TEXTS, ChatEdit, asked_in, edited
from fiducial.gateway.model.outgoing import Mask, masked
from fiducial.gateway.model.steps import Came, Json, Own, Part, Said, Step, beside, result_of, texts_of
from fiducial.gateway.model.turn import Turn
from fiducial.gateway.refusals import Refused

_AUTHORITIES: Final[Mapping[str, Authority]] = {"system": "system", "developer": "operator", "user": "user"}
_SEARCHES: Final = ("plugins", "search_parameters", "web_search_options")
"""Members of a request by which a provider searches: OpenAI's, OpenRouter's, xAI's."""
_SEARCHING: Final = re.compile(r"(?:^|[^a-z])(?:online|search|sonar)(?:[^a-z]|$)")
"""Names of models that always do."""
_SETTINGS: Final = frozenset(
    ["audio", "enable_thinking", "frequency_penalty", "functions", "include_reasoning", "logit_bias",
     "logprobs", "max_completion_tokens", "max_tokens", "metadata", "min_p", "modalities", "model", "models", "n",
     "parallel_tool_calls", "presence_penalty", "prompt_cache_key", "prompt_cache_retention", "provider", "random_seed",
     "reasoning", "reasoning_effort", "reasoning_format", "repetition_penalty", "response_format", "route",
     "safe_prompt", "safety_identifier", "seed", "service_tier", "stop", "stop_token_ids", "store", "stream",
     "stream_options", "temperature", "thinking", "tool_choice", "tools", "top_a", "top_k", "top_logprobs",
     "top_p", "transforms", "usage", "user", "verbosity", *_SEARCHES]
)  # fmt: skip
"""Members of a request that set something; the model reads none of them as what somebody said."""


class Chat:
    """See `fiducial.gateway.model.api.Api`."""

    path, counts = "chat/completions", ""

    def check(self, body: Json, provider_tools: frozenset[str] | None) -> None:
        """See `Api.check`."""
        if body.get("functions"):
            raise Refused(400, "`functions` are not passed on: their calls have no ids; use `tools`")
        listed(body.get("messages"), "messages")
        wanted = {str(tool.get("type")) for tool in listed(body.get("tools") or [], "tools")} - {"function", "custom"}
        if _searches(body):
            wanted.add("web_search")
        check_tools(wanted, provider_tools)

    def history(self, body: Json) -> tuple[list[Any], str]:
        """See `Api.history`."""
        return [each for each in body["messages"] if each.get("role") not in ("system", "developer")], ""

    def steps(self, body: Json) -> Iterator[Step]:
        """See `Api.steps`."""
        yield from beside(body, _SETTINGS | {"messages"}, "a member of a request")
        tools = {made.get("name") for tool in body.get("tools") or [] if isinstance(made := tool.get("function"), dict)}
        for message in body["messages"]:
            role = message.get("role")
            if role in _AUTHORITIES:
                for part in texts_of(message.get("content"), TEXTS):
                    yield Said(_AUTHORITIES[role], part) if isinstance(part, str) else part
                yield from beside(message, {"role", "content"}, "a member of a message")
            elif role == "assistant":
                yield from _own(message)
            elif role == "tool":
                yield Came(str(message.get("tool_call_id", "")), result_of(message.get("content"), TEXTS))
                known = {"role", "content", "tool_call_id", *(["name"] if message.get("name") in tools else [])}
                yield from beside(message, known, "a member of a message")
            else:
                yield Part("a message of a role that is not known", message)

    def prompted(self, body: Json, prompt: str) -> Json:
        """See `Api.prompted`."""
        return body | {"messages": [{"role": "system", "content": prompt}, *body["messages"]]}

    def masked(self, body: Json, mask: Mask) -> Json:
        """See `Api.masked`."""
        return masked(body, mask, frozenset(["messages"]), _SETTINGS)

    def settled(self, body: Json, owed: list[Json], given: Container[str]) -> Json:
        """See `Api.settled`: the provider keeps nothing but what it said aloud."""
        for message in body["messages"]:
            heard = message.get("audio")
            if isinstance(heard, dict) and str(heard.get("id")) not in given:
                raise Refused(404, "a message refers to an answer that this gateway has not seen in this conversation")
        return body

    def looks_up(self, body: Json) -> bool:
        """See `Api.looks_up`."""
        kinds = {tool.get("type") for tool in body.get("tools") or []}
        return _searches(body) or not kinds <= {"function", "custom"}

    def in_json(self, body: Json) -> bool:
        """See `Api.in_json`."""
        wanted = body.get("response_format")
        return isinstance(wanted, dict) and wanted.get("type") != "text"

    async def edited(self, answer: Json, turn: Turn) -> Json:
        """See `Api.edited`."""
        return await edited(answer, turn)

    def editing(self, turn: Turn) -> ChatEdit:
        """See `Api.editing`."""
        return ChatEdit(turn)


def _searches(body: Json) -> bool:
    model = body.get("model")
    named = isinstance(model, str) and _SEARCHING.search(model.lower()) is not None
    return named or any(body.get(each) is not None for each in _SEARCHES)


def _own(message: Json) -> Iterator[Step]:
    for part in texts_of(message.get("content"), TEXTS):
        yield Own(part) if isinstance(part, str) else part
    if isinstance(message.get("refusal"), str):
        yield Own(message["refusal"])
    for call in message.get("tool_calls") or []:
        asked = asked_in(call) if isinstance(call, dict) else None
        if asked is None:
            yield Part("a call of a kind that is not known", call)
        else:
            yield asked
            yield from beside(call, CALL, "a member of a call")
    yield from beside(message, MESSAGE, "a member of a message")


__all__ = ["Chat"]
