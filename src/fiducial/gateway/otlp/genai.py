"""Spans by the OpenTelemetry GenAI conventions, MCP's among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp.steps import Asked, Came, Doubted, Kind, Step, hidden, of_messages, parsed, text_of
from fiducial.gateway.otlp.wire import Span

_SHOWN: Final = 100
"""Characters of a name that is shown."""


def speaks(attributes: Mapping[str, Any]) -> bool:
    """Whether a span follows them."""
    return names.OPERATION in attributes or names.MCP_METHOD in attributes


def kind_of(span: Span) -> tuple[Kind, str]:
    """What the span is, and the name of the tool or the agent."""
    operation = text_of(span.attributes.get(names.OPERATION))
    if _is_call(span.attributes):
        return "tool", text_of(span.attributes.get(names.TOOL_NAME))
    if operation == names.INVOKE_AGENT:
        return "agent", text_of(span.attributes.get(names.AGENT_NAME))
    if operation == names.INVOKE_WORKFLOW:
        return "workflow", ""
    return "other", ""


def read(span: Span) -> Iterator[Step]:
    """What the span says."""
    found = dict(span.attributes)
    for name, more in span.events:
        if name == names.DETAILS_EVENT:
            found |= more
    operation = text_of(found.get(names.OPERATION))
    if _is_call(found):
        yield from _call(span, found)
    elif operation == names.RETRIEVAL:
        documents = found.get(names.RETRIEVED)
        source = text_of(found.get(names.DATA_SOURCE)) or names.RETRIEVAL
        yield Came(span.end_ns, "", source, documents, told=not hidden(documents))
    else:
        # Messages count wherever they stand; of agents and workflows, the spans in them say what came.
        inner = operation in (names.INVOKE_AGENT, names.INVOKE_WORKFLOW)
        method = text_of(found.get(names.MCP_METHOD))
        if not inner and operation not in names.CHAT and not _brings_nothing(operation, method):
            # Before the answer, which may follow from it.
            yield Doubted(span.end_ns, f"what `{(operation or method)[:_SHOWN]}` brought is not told")
        yield from _messages(span, found, asks=operation in names.CHAT, answers=not inner)


def _is_call(attributes: Mapping[str, Any]) -> bool:
    return attributes.get(names.OPERATION) == names.EXECUTE_TOOL or attributes.get(names.MCP_METHOD) == names.MCP_CALL


def _brings_nothing(operation: str, method: str) -> bool:
    """Nothing that the agent reads: known for what is named, and for nothing else."""
    named = (operation, names.NOTHING), (method, names.MCP_NOTHING)
    return bool(operation or method) and all(name in known for name, known in named if name)


def _call(span: Span, found: Mapping[str, Any]) -> Iterator[Step]:
    tool, call = text_of(found.get(names.TOOL_NAME)), text_of(found.get(names.TOOL_CALL_ID))
    yield Asked(span.start_ns, call, tool, parsed(found.get(names.TOOL_ARGUMENTS)), running=True)
    result = found.get(names.TOOL_RESULT)
    failed = span.failed or names.ERROR_TYPE in found
    error = error_of(span) if failed else None
    told = not hidden(result) or bool(error)
    yield Came(span.end_ns, call, tool, result, told=told, failed=failed, error=error, running=True)


def error_of(span: Span) -> str | None:
    """What the tool said when it failed; `None` when that is not told."""
    for name, more in span.events:
        if name == names.EXCEPTION_EVENT and isinstance(more.get(names.EXCEPTION_MESSAGE), str):
            return str(more[names.EXCEPTION_MESSAGE])
    return span.error or None


def _messages(span: Span, found: Mapping[str, Any], *, asks: bool, answers: bool) -> Iterator[Step]:
    instructions = parsed(found.get(names.SYSTEM_INSTRUCTIONS))
    if instructions is not None:
        parts = [{"type": "text", "content": instructions}] if isinstance(instructions, str) else instructions
        yield from of_messages([{"role": "system", "parts": parts}], span.start_ns)
    given = parsed(found.get(names.INPUT_MESSAGES))
    if given is not None:
        # Text that is no JSON was cut off: whose words it ends with cannot be told.
        yield from of_messages(given, span.start_ns)
    elif asks:
        yield Doubted(span.start_ns, "what a model was given is not told")
    answer = parsed(found.get(names.OUTPUT_MESSAGES))
    if answers and answer is not None:
        yield from of_messages(answer, span.end_ns, output=True)


__all__ = ["error_of", "kind_of", "read", "speaks"]
