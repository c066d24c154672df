"""Spans by OpenInference, in which lists are flattened into the names of attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp.genai import error_of
from fiducial.gateway.otlp.steps import Asked, Came, Doubted, Kind, Step, hidden, of_messages, parsed, text_of
from fiducial.gateway.otlp.wire import Span


def speaks(attributes: Mapping[str, Any]) -> bool:
    """Whether a span follows it."""
    return names.OI_KIND in attributes


def kind_of(span: Span) -> tuple[Kind, str]:
    """What the span is, and the name of the tool or the agent."""
    kind = text_of(span.attributes.get(names.OI_KIND)).upper()
    if kind == "TOOL":
        return "tool", text_of(span.attributes.get(names.OI_TOOL)) or span.name
    if kind == "AGENT":
        return "agent", text_of(span.attributes.get(names.OI_AGENT))
    return "other", ""


def read(span: Span) -> Iterator[Step]:
    """What the span says. Of chains, nothing: the spans in them say it."""
    kind = text_of(span.attributes.get(names.OI_KIND)).upper()
    if kind == "TOOL":
        yield from _call(span)
    if kind == "TOOL" or kind in names.OI_NOTHING:
        return
    given = list(_messages(_listed(span.attributes, names.OI_INPUT_MESSAGES)))
    yield from of_messages(given, span.start_ns)
    if kind == "LLM" and not given:
        yield Doubted(span.start_ns, "what a model was given is not told")
    elif kind in ("RETRIEVER", "RERANKER"):
        documents = names.OI_DOCUMENTS if kind == "RETRIEVER" else names.OI_RERANKED
        contents = [_below(each, "document").get("content") for each in _listed(span.attributes, documents)]
        yield Came(span.end_ns, "", span.name, contents, told=bool(contents) and not any(map(hidden, contents)))
    elif kind != "LLM":
        yield Doubted(span.end_ns, "what a span of a kind that is not known brought is not told")
    answer = list(_messages(_listed(span.attributes, names.OI_OUTPUT_MESSAGES)))
    yield from of_messages(answer, span.end_ns, output=True)


def _call(span: Span) -> Iterator[Step]:
    found = span.attributes
    tool = text_of(found.get(names.OI_TOOL)) or span.name
    arguments = parsed(found.get(names.OI_INPUT))
    result, answered = _result(found.get(names.OI_OUTPUT))
    call = next((text_of(found[name]) for name in names.OI_TOOL_IDS if found.get(name)), answered)
    # Some frameworks give what the tool's one parameter holds, and not by which name.
    yield Asked(span.start_ns, call, tool, arguments if isinstance(arguments, dict) else None, running=True)
    error = error_of(span) if span.failed else None
    told = not hidden(result) or bool(error)
    yield Came(span.end_ns, call, tool, result, told=told, failed=span.failed, error=error, running=True)


def _result(output: Any) -> tuple[Any, str]:
    """The result in what a tool gave back, and the id of the call that it says it is of.

    LangChain's tools give a message that holds both.
    """
    found = parsed(output)
    if isinstance(found, dict) and found.get("type") == "tool" and isinstance(found.get("data"), dict):
        return found["data"].get("content"), text_of(found["data"].get("tool_call_id"))
    return output, ""


def _listed(attributes: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    """The items whose members are attributes named `<prefix><number>.<member>`, in order."""
    items: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        number, dot, rest = name[len(prefix) :].partition(".") if name.startswith(prefix) else ("", "", "")
        if dot and number.isascii() and number.isdigit() and len(number) < 9:
            items.setdefault(int(number), {})[rest] = value
    return [items[number] for number in sorted(items)]


def _below(item: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The members below `name.`, without it."""
    return {key[len(name) + 1 :]: value for key, value in item.items() if key.startswith(name + ".")}


def _messages(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Messages as the GenAI conventions have them."""
    for item in items:
        message = _below(item, "message")
        role, texts = message.get("role"), list(_texts(message))
        parts: list[dict[str, Any]] = []
        if role in ("tool", "function"):
            result = texts[0] if len(texts) == 1 else texts
            parts = [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": result or None}]
        else:
            parts += [{"type": "text", "content": text} for text in texts]
            parts += [{"type": text_of(kind)} for kind in _others(message)]
            for each in _listed(message, "tool_calls."):
                call = _below(each, "tool_call")
                parts.append(
                    {
                        "type": "tool_call", "id": call.get("id"), "name": call.get("function.name"),
                        "arguments": call.get("function.arguments"),
                    }
                )  # fmt: skip
        yield {"role": role, "name": message.get("name"), "parts": parts}


def _texts(message: Mapping[str, Any]) -> Iterator[Any]:
    if message.get("content"):
        yield message["content"]
    for each in _listed(message, "contents."):
        part = _below(each, "message_content")
        if part.get("type", "text") == "text" and part.get("text"):
            yield part["text"]


def _others(message: Mapping[str, Any]) -> Iterator[Any]:
    """Types of the contents that are no text."""
    for each in _listed(message, "contents."):
        kind = _below(each, "message_content").get("type", "text")
        if kind not in ("text", "tool_use"):
            yield kind


__all__ = ["kind_of", "read", "speaks"]
