"""Exporters of others, and the spans that they send."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from gateway_world import House
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from fiducial.core.event import CallDecided, CallFinished, Event, MessageObserved, ResultObserved, SessionOpened
from fiducial.gateway.otlp import receiver
from fiducial.gateway.otlp.receiver import Patience
from fiducial.guard.record import decode_decision, decode_result

SOON = Patience(settle=timedelta(milliseconds=30), most=timedelta(milliseconds=300), look=timedelta(milliseconds=100))


def receiving(house: House, patience: Patience = SOON) -> House:
    """`house`, served anew, which takes traces in with `patience`."""
    house.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiver, "PATIENCE", patience)
        house.start()
    return house


def exporter(house: House, token: str = "key-of-one") -> OTLPSpanExporter:
    return OTLPSpanExporter(
        endpoint=f"http://127.0.0.1:{house.port}/v1/traces", headers={"authorization": f"Bearer {token}"}, timeout=5
    )


class Agent:
    """An agent that is instrumented: its spans are kept until they are sent."""

    def __init__(self, **resource: Any) -> None:
        self.memory = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource(resource))
        self.provider.add_span_processor(SimpleSpanProcessor(self.memory))
        self.tracer: Tracer = self.provider.get_tracer("an.agent")

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
        with self.tracer.start_as_current_span(name, attributes=dict(attributes)) as span:
            yield span

    def chat(self, *messages: Any, calls: Any = (), **more: Any) -> None:
        """One request to a model."""
        parts = [{"type": "tool_call", "id": id, "name": name, "arguments": given} for id, name, given in calls]
        answer = [{"role": "assistant", "parts": parts or [{"type": "text", "content": "done"}], "finish_reason": "x"}]
        with self.span(
            "chat m",
            {
                "gen_ai.operation.name": "chat", "gen_ai.input.messages": json.dumps(messages),
                "gen_ai.output.messages": json.dumps(answer), **more,
            },
        ):  # fmt: skip
            pass

    def tool(self, name: str, arguments: Any, result: Any, call: str = "", **more: Any) -> None:
        """One call."""
        found = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name, **more}
        if call:
            found["gen_ai.tool.call.id"] = call
        if arguments is not None:
            found["gen_ai.tool.call.arguments"] = json.dumps(arguments)
        if result is not None:
            found["gen_ai.tool.call.result"] = result
        with self.span(f"execute_tool {name}", found):
            pass

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.memory.get_finished_spans()


def a_run() -> Agent:
    agent = Agent()
    with agent.span("invoke_agent clerk", {"gen_ai.operation.name": "invoke_agent", "user.id": "emma"}):
        agent.chat(said("user", "Look up page"), calls=[("1", "look_up", {"name": "page"})])
        agent.tool("look_up", {"name": "page"}, "found", call="1")
    return agent


ROWS = [
    ("opened", "emma", "observe"),
    ("user", "Look up page", "trusted"),
    ("decided", "look_up", '{"name": "page"}', "allowed"),
    ("finished", "found", "ok"),
]


def request(*spans: Span) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def events(house: House, *kinds: type) -> list[Any]:
    house.store.flush()
    found = list(house.store.ledger().entries(0))
    return [each.event for each in found if isinstance(each.event, kinds)]


def eventually(condition: Callable[[], Any], seconds: float = 8) -> Any:
    """What `condition` comes to when it is true."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
    return found


def settled(house: House) -> None:
    """Until nothing waits any more."""
    assert house.doors.intake is not None
    eventually(lambda: not house.store.scan("otlp/waiting/"))


def trajectory(house: House) -> list[tuple[str, ...]]:
    """What stands in the ledger of all sessions, in a form that tests can name."""
    house.store.flush()
    rows: list[tuple[str, ...]] = []
    for each in house.store.ledger().entries(0):
        event: Event = each.event
        data = {payload.ref.role: payload.data for payload in each.payloads}
        match event:
            case SessionOpened():
                rows.append(("opened", event.user, event.mode))
            case MessageObserved():
                rows.append((event.authority, (data["text"] or b"").decode(), event.integrity.value))
            case CallDecided():
                record = decode_decision(data["call"] or b"")
                rows.append(("decided", event.tool, json.dumps(record.arguments), event.verdict))
            case CallFinished():
                result = decode_result(data["result"] or b"")
                rows.append(("finished", str(result.result), event.outcome))
            case ResultObserved():
                result = decode_result(data["result"] or b"")
                rows.append(("observed", event.tool, str(result.result)))
            case _:
                pass
    return rows


class Collector:
    """A collector: what it was sent, and what it answers next."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, answer, headers = collector.answers.pop(0) if collector.answers else (200, b"", {})
                collector.headers.append({**{k.lower(): v for k, v in self.headers.items()}, "path": self.path})
                if status == 200:
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(answer))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
