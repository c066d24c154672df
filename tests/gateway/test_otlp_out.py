"""What was recorded, sent to a collector: complete, in order, without contents, and without holding anybody up."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from gateway_world import CONTRACTS, OLGA, SECRET, House, charter
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_http_world import Gate
from mcp_world import Line, upstream
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_world import Collector, eventually, receiving, trajectory
from typer.testing import CliRunner

import fiducial
from fiducial.charter.forms import Form
from fiducial.charter.recognition import Recognition
from fiducial.cli.log import app
from fiducial.core.store import Commit, Put
from fiducial.errors import Conflict, MaskingError, RolledBack
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.flow.masking.recognizer import Recognizer
from fiducial.gateway.otlp import exporter as exporting
from fiducial.gateway.otlp import mapping
from fiducial.gateway.otlp.exporter import Exporter


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def told(span: Span) -> dict[str, Any]:
    return {each.key: value(each.value) for each in span.attributes}


def value(any_value: Any) -> Any:
    kind = any_value.WhichOneof("value")
    return [value(each) for each in any_value.array_value.values] if kind == "array_value" else getattr(any_value, kind)


def judged(span: Span) -> list[tuple[str, str]]:
    found = [{each.key: value(each.value) for each in event.attributes} for event in span.events]
    assert {event.name for event in span.events} <= {"gen_ai.evaluation.result"}
    return [(each["gen_ai.evaluation.name"], each["gen_ai.evaluation.score.label"]) for each in found]


def lived(house: House) -> str:
    """A session in which each kind of verdict is given."""
    with house.guard.session(user="emma", system="Be brief.", task=f"Write {SECRET} into list") as session:
        session.call("look_up", {"name": "page"}, run=lambda name: "found")
        session.call("write_note", {"name": "list", "text": SECRET}, run=lambda name, text: "written")
        session.call("write_note", {"name": "list", "text": "milk"}, run=_fails)
        session.call("pay_bill", {"account": "DE1", "amount": 5}, run=lambda **_: "paid")
        session.call("wipe", {"name": "page"}, run=lambda name: "wiped")
        session.decide("look_up", {"name": "never heard of again"})
        session.call("nothing", {"x": "y"}, run=lambda x: None)
        session.observe("look_up", {"name": "elsewhere"}, "seen elsewhere")
        child = session.delegate("look", agent="other")
        child.call("look_up", {"name": "child"}, run=lambda name: "found")
    house.store.flush()
    return session.id


def _fails(name: str, text: str) -> str:
    raise RuntimeError("it broke")


def sent(house: House, collector: Collector, **more: Any) -> list[Span]:
    house.store.flush()
    exporter = Exporter(house.store, collector.url, **more)
    while True:
        done = exporter.send()
        assert not done.failed
        if not done.more:
            exporter.close()
            return collector.spans


def test_every_call_and_session_is_a_span(house: House, collector: Collector) -> None:
    session = lived(house)
    spans = sent(house, collector)
    rows = [
        (span.name, told(span).get("fiducial.verdict"), told(span).get("error.type"), judged(span)) for span in spans
    ]

    def call(tool: str, verdict: str, error: str | None = None) -> tuple[Any, ...]:
        return f"execute_tool {tool}", verdict, error, [("fiducial.verdict", verdict)]

    assert rows == [
        call("look_up", "allowed"),
        call("write_note", "allowed"),
        call("write_note", "allowed", "failed"),
        call("pay_bill", "held", "held"),
        call("wipe", "denied", "denied"),
        call("unknown", "denied", "unknown-tool"),
        ("execute_tool unknown", None, None, []),
        call("look_up", "allowed"),
        ("invoke_agent other", None, None, []),
        call("look_up", "allowed", "unknown"),
        ("invoke_agent clerk", None, None, []),
    ]
    assert len({span.trace_id for span in spans}) == 1
    assert len({span.span_id for span in spans}) == len(spans)
    other, clerk = spans[8], spans[10]
    assert clerk.parent_span_id == b""
    assert other.parent_span_id == clerk.span_id
    assert {span.parent_span_id for span in spans[:7]} == {clerk.span_id}
    assert spans[7].parent_span_id == other.span_id
    assert told(clerk)["gen_ai.conversation.id"] == session
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    assert all(clerk.start_time_unix_nano <= span.start_time_unix_nano for span in spans)
    scope = collector.requests[0].resource_spans[0].scope_spans[0]
    assert (scope.scope.name, scope.schema_url) == ("fiducial", "https://opentelemetry.io/schemas/1.45.0")


def test_a_call_that_came_over_mcp_is_told_by_the_conventions_of_mcp(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = {"effect": "read", "kind": "read", "parameters": {"uri": {"role": "option"}}}
    monkeypatch.setitem(CONTRACTS, "resources/read", reads)

    async def listed(*_: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])

    async def read(_: Any, params: Any) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=params.uri, text="x")])

    with House(tmp_path / "fiducial.db") as house:
        gate = Gate(house, upstream(house, on_list_resources=listed, on_read_resource=read))
        for era in ("legacy", "2026-07-28"):
            gate.client("emma", era=era).call("look_up", name="page")
        client = gate.client("emma")
        client.do(lambda: client.client.read_resource("shed://page"))
        line = Line(house)
        line.do(lambda: line.client.call_tool("wipe", {"name": "page"}))
        with house.guard.session(user="emma") as session:
            session.call("look_up", {"name": "page"}, run=lambda name: "found")
        line.close()
        spans = [span for span in sent(house, collector) if span.name.startswith("execute_tool")]
    said = [
        {name: each for name, each in told(span).items() if name.startswith(("mcp.", "network."))} for span in spans
    ]
    http = {"network.transport": "tcp", "network.protocol.name": "http"}
    older, newer = {"mcp.protocol.version": "2025-11-25"}, {"mcp.protocol.version": "2026-07-28"}
    assert said == [
        {"mcp.method.name": "tools/call"} | older | http,
        {"mcp.method.name": "tools/call"} | newer | http,
        {"mcp.method.name": "resources/read"} | older | http,
        {"mcp.method.name": "tools/call", "network.transport": "pipe"} | older,
        {},
    ]


def test_without_content_nothing_that_anybody_wrote_is_sent(house: House, collector: Collector) -> None:
    lived(house)
    raw = b"".join(request.SerializeToString() for request in (sent(house, collector), collector.requests)[1])
    for text in (SECRET, "emma", "Be brief", "milk", "elsewhere", "found", "page", "DE1", "it broke"):
        assert text.encode() not in raw


@pytest.mark.parametrize("own", [False, True])
def test_a_charters_own_forms_are_masked_in_contents(house: House, collector: Collector, own: bool) -> None:
    with house.guard.session(user="emma", task="Greet EMP-123456") as session:
        session.call("look_up", {"name": "of EMP-654321"}, run=lambda name: f"{name} is here")
    detection = Detection(["badge"], {"badge": [Form(pattern="EMP-[0-9]{6}")]}) if own else BUILT_IN
    raw = str(sent(house, collector, content=True, detection=detection))
    assert ("EMP-123456" in raw, "EMP-654321" in raw) == (not own, not own)
    assert ("Greet [badge]" in raw, "of [badge] is here" in raw) == (own, own)


def test_contents_whose_names_cannot_be_told_are_not_sent(
    house: House, collector: Collector, failing_pipeline: Path
) -> None:
    model = Recognition(model=str(failing_pipeline), entities={"PERSON": "identity"})
    with house.guard.session(user="emma", task="Greet Ann Fox") as session:
        session.call("look_up", {"name": "of Ann Fox"}, run=lambda name: f"{name} is here")
    masked = Detection((), {}, Recognizer(model))
    raw = str(sent(house, collector, content=True, detection=masked))
    assert ("Greet [identity]" in raw, "of [identity] is here" in raw, "Fox" in raw) == (True, True, False)
    with house.guard.session(user="emma", task="Ann Fox has trouble"):
        pass
    house.store.flush()
    exporter = Exporter(house.store, collector.url, content=True, detection=masked)
    for _ in range(2):
        with pytest.raises(MaskingError):
            exporter.send()
    exporter.close()
    assert "Fox" not in str(collector.spans)
    assert "Ann Fox has trouble" in str(sent(house, collector, content=True)), "nothing was lost"


@pytest.mark.parametrize("content", [False, True])
def test_what_people_were_asked_and_what_they_stopped_is_sent(
    house: House, collector: Collector, content: bool
) -> None:
    with house.guard.session(user="emma") as session:
        asked = [session.decide("pay_bill", {"account": "DE1", "amount": amount}) for amount in (5, 6)]
        for each, answer in zip(asked, ("approve", "reject"), strict=True):
            assert isinstance(each, fiducial.Held)
            house.desk.vote(each.hold, OLGA, answer, note="as Olga sees it")
    halt = house.guard.halt("drill for Emma", by="olga", tool="pay_bill", user="emma")
    house.guard.resume(halt, by="ben")
    house.store.flush()
    spans = {span.name: span for span in sent(house, collector, content=content)}
    people = [span for span in collector.spans if span.name == "fiducial.ask operator"]
    agent = next(span for name, span in spans.items() if name.startswith("invoke_agent"))
    assert [told(span)["fiducial.outcome"] for span in people] == ["approved", "rejected"]
    assert [told(span).get("error.type") for span in people] == [None, "rejected"]
    for span, each, answer in zip(people, asked, ("approve", "reject"), strict=True):
        assert (span.trace_id, span.parent_span_id) == (agent.trace_id, agent.span_id)
        assert told(span)["gen_ai.tool.call.id"] == each.decision
        assert told(span)["gen_ai.tool.name"] == "pay_bill"
        assert span.start_time_unix_nano < span.end_time_unix_nano
        [vote] = span.events
        said = {each.key: value(each.value) for each in vote.attributes}
        assert (vote.name, said["fiducial.answer"], said["fiducial.role"]) == ("fiducial.vote", answer, "operator")
        assert said.get("fiducial.by") == ("olga" if content else None)
    stopped, lifted = spans["fiducial.halt"], spans["fiducial.resume"]
    assert stopped.trace_id == lifted.trace_id != agent.trace_id
    assert stopped.span_id != lifted.span_id
    assert told(stopped)["gen_ai.tool.name"] == "pay_bill"
    assert (told(stopped).get("fiducial.why"), told(stopped).get("user.id")) == (
        ("drill for Emma", "emma") if content else (None, None)
    )
    raw = b"".join(request.SerializeToString() for request in collector.requests)
    assert b"as Olga sees it" not in raw


@pytest.mark.parametrize("content", [False, True])
def test_a_text_of_a_models_is_a_span_without_it(house: House, collector: Collector, content: bool) -> None:
    with house.guard.session(user="emma", task="Hello") as session:
        session.answered(f"It says {SECRET}.", model="gpt-of-emma")
    chat, _ = sent(house, collector, content=content)
    name = {"gen_ai.request.model": "gpt-of-emma"} if content else {}
    assert chat.name == ("chat gpt-of-emma" if content else "chat")
    assert told(chat) == {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": session.id} | name
    raw = b"".join(request.SerializeToString() for request in collector.requests)
    assert SECRET.encode() not in raw
    assert (b"gpt-of-emma" in raw) is content


def test_the_name_of_a_tool_that_no_contract_describes_is_not_sent(house: House, collector: Collector) -> None:
    with house.guard.session(user="emma") as session:
        session.call("the card is 4111111111111111", {}, run=lambda: None)
        session.observe("by the way, it is 4111111111111111", {}, "x")
    house.store.flush()
    for content in (False, True):
        spans = sent(house, collector, content=content)
        assert [told(span)["gen_ai.tool.name"] for span in spans[:2]] == ["unknown", "unknown"]
        assert b"4111" not in b"".join(span.SerializeToString() for span in spans)
        house.store.commit(Commit(changes=tuple(Put(key, None) for key in house.store.scan(exporting.SENT)))).result()
        collector.requests.clear()


LATER = '@id("charter/later") @mode("shadow") @reason("no") forbid (principal, action == Action::"{}", resource);'


@pytest.mark.parametrize(("tool", "told_too"), [("pay_bill", True), ("look_up", False)])
def test_what_shadow_policies_say_of_a_stopped_call_is_on_its_span(
    tmp_path: Path, collector: Collector, tool: str, told_too: bool
) -> None:
    with House(tmp_path / "f.db", charter(LATER.format(tool))) as house:
        with house.guard.session(user="emma", task="Pay 5 EUR to DE1") as session:
            for _ in range(2):
                session.call("pay_bill", {"account": "DE1", "amount": 5}, run=lambda **_: "paid")
        house.store.flush()
        first, second, _ = sent(house, collector)
    for span in (first, second):
        assert judged(span) == [("fiducial.verdict", "held"), *([("fiducial.shadow", "denied")] if told_too else [])]


def test_no_more_is_remembered_than_the_calls_under_way(house: House) -> None:
    with house.guard.session(user="emma") as session:
        for _ in range(5):
            session.call("wipe", {"name": "x" * 10_000}, run=lambda **_: "")
        session.call("look_up", {"name": "x"}, run=lambda **_: "done")
        session.decide("look_up", {"name": "x" * 10_000})
        house.store.flush()
        mapped = mapping.Mapping(house.store.ledger(), content=False)
        spans = [span for record in house.store.ledger().entries(0) for span in mapped.spans(record)]
    assert len(spans) == 6
    assert len(mapped._decided) == 1
    assert len(pickle.dumps(mapped._decided)) < 10_000


def test_content_is_sent_on_demand_and_never_what_is_masked(house: House, collector: Collector) -> None:
    lived(house)
    spans = sent(house, collector, content=True)
    raw = b"".join(request.SerializeToString() for request in collector.requests)
    assert SECRET.encode() not in raw
    first, masked, *_ = map(told, spans)
    assert json.loads(first["gen_ai.tool.call.arguments"]) == {"name": "page"}
    assert json.loads(first["gen_ai.tool.call.result"]) == "found"
    assert json.loads(masked["gen_ai.tool.call.arguments"]) == {"withheld": ["secrets"]}
    unknown = next(told(span) for span in spans if span.name == "execute_tool unknown")
    assert json.loads(unknown["gen_ai.tool.call.arguments"]) == {"withheld": ["not looked at"]}
    assert (
        json.loads(told(spans[8])["gen_ai.input.messages"])[-1]["parts"][0]["content"]
        == '{"withheld":["said by others"]}'
    )
    assert b"seen elsewhere" not in raw
    clerk = told(spans[-1])
    assert clerk["user.id"] == "emma"
    assert json.loads(clerk["gen_ai.system_instructions"]) == [{"type": "text", "content": "Be brief."}]
    assert "[secrets]" in clerk["gen_ai.input.messages"]


def test_what_a_tool_without_a_contract_gave_back_is_withheld(tmp_path: Path, collector: Collector) -> None:
    with House(tmp_path / "f.db") as house:
        house.guard = fiducial.Guard(house.charter, store=house.store, mode="observe")
        with house.guard.session(user="emma") as session:
            session.call("nothing", {"x": "y"}, run=lambda x: "who knows")
        house.store.flush()
        (call, _) = sent(house, collector, content=True)
    assert json.loads(told(call)["gen_ai.tool.call.result"]) == {"withheld": ["not looked at"]}


def test_it_goes_on_where_it_was_and_sends_nothing_twice(
    house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "ENTRIES", 3)
    lived(house)
    first = list(sent(house, collector))
    assert sent(house, collector) == first
    lived(house)
    both = sent(house, collector)
    assert len(both) == 2 * len(first)
    assert len({span.span_id for span in both}) == len(both)


@settings(deadline=None, max_examples=5)
@given(st.lists(st.sampled_from([429, 503, 502, 500, 401, 301, 0]), max_size=4), st.integers(1, 7))
def test_whatever_the_collector_answers_nothing_is_lost(faults: list[int], entries: int) -> None:
    import tempfile

    collector = Collector()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as where:
        patch.setattr(exporting, "ENTRIES", entries)
        with House(Path(where) / "f.db") as house:
            lived(house)
            expected = {span.span_id for span in sent(house, collector)}
            collector.requests.clear()
            collector.answers += [(status, b"", {}) for status in faults if status]
            again = Exporter(house.store, collector.url + "/v1/traces/../v1/traces")
            failures = 0
            while True:
                done = again.send()
                failures += bool(done.failed)
                if not done.failed and not done.more:
                    break
            again.close()
            assert failures == sum(1 for status in faults if status)
            assert {span.span_id for span in collector.spans} == expected
            assert len(collector.spans) == len(expected)
    collector.close()


def test_it_waits_longer_each_time_and_as_long_as_it_is_told(house: House, collector: Collector) -> None:
    lived(house)
    exporter = Exporter(house.store, collector.url)
    collector.answers += [(503, b"", {})] * 9 + [(503, b"", {"retry-after": "7"}), (429, b"", {"retry-after": "99999"})]
    waits = [exporter.send().wait for _ in range(11)]
    assert timedelta(seconds=0.5) <= waits[0] <= timedelta(seconds=1)
    assert timedelta(seconds=30) <= waits[8] <= timedelta(minutes=1)
    assert waits[9:] == [timedelta(seconds=7), timedelta(minutes=1)]
    collector.server.shutdown()
    collector.server.server_close()
    assert "cannot be reached" in exporter.send().failed
    exporter.close()


def test_what_the_collector_does_not_take_is_said_and_not_sent_again(house: House, collector: Collector) -> None:
    lived(house)
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    collector.answers.append((200, answer.SerializeToString(), {}))
    exporter = Exporter(house.store, collector.url)
    assert exporter.send().refused == "the collector does not take 2 spans: too old"
    assert not exporter.send().more
    lived(house)
    collector.answers.append((400, b"", {}))
    assert "400 to 11 spans" in exporter.send().refused
    assert len(collector.requests) == 1
    exporter.close()


def test_whatever_2xx_the_collector_answers_is_taken_as_taken(house: House, collector: Collector) -> None:
    lived(house)
    collector.answers.append((202, b"", {}))
    exporter = Exporter(house.store, collector.url)
    done = exporter.send()
    assert (done.spans, done.refused, done.failed) == (11, "", "")
    exporter.close()


def test_a_log_that_is_shorter_than_what_was_sent_is_an_error(tmp_path: Path, collector: Collector) -> None:
    database = tmp_path / "fiducial.db"
    with House(database) as house:
        lived(house)
        sent(house, collector)
        (cell,) = house.store.scan(exporting.SENT)
        house.store.commit(Commit(changes=(Put(cell, b"1000"),))).result()
        with pytest.raises(RolledBack, match="1000 entries of this log, which has"):
            sent(house, collector)
    for more in ([], ["--follow"]):
        done = CliRunner().invoke(app, ["otlp", str(database), collector.url, *more])
        assert (done.exit_code, "1000 entries of this log" in done.output) == (1, True)


def test_large_contents_go_in_requests_of_bounded_size(
    house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_REQUEST", 2000)
    lived(house)
    spans = sent(house, collector)
    assert len(spans) == 11
    assert len(collector.requests) > 2
    assert max(request.ByteSize() for request in collector.requests) < 3000


def test_of_two_exporters_one_is_refused(house: House, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    lived(house)
    one, two = Exporter(house.store, collector.url), Exporter(house.store, collector.url)
    post = Exporter._posted

    def slow(self: Exporter, request: Any) -> Any:
        monkeypatch.setattr(Exporter, "_posted", post)
        assert not two.send().failed
        return post(self, request)

    monkeypatch.setattr(Exporter, "_posted", slow)
    with pytest.raises(Conflict):
        one.send()
    one.close()
    two.close()


def test_a_call_that_is_made_across_two_runs_is_whole(house: House, collector: Collector) -> None:
    with house.guard.session(user="emma") as session:
        verdict = session.decide("look_up", {"name": "page"})
        house.store.flush()
        assert sent(house, collector) == []
        session.observe("look_up", {"name": "page"}, "found", decision=verdict)
    house.store.flush()
    assert [span.name for span in sent(house, collector)] == ["execute_tool look_up", "invoke_agent clerk"]


def test_what_is_sent_can_be_received_and_is_not_followed(house: House) -> None:
    lived(house)
    receiving(house)
    before = trajectory(house)
    address = f"http://127.0.0.1:{house.port}"
    exporter = Exporter(house.store, address, headers={"authorization": "Bearer key-of-one"}, content=True)
    done = exporter.send()
    assert (done.failed, done.refused) == ("", "")
    assert done.spans == 11
    exporter.close()
    assert not house.store.scan("otlp/")
    assert trajectory(house) == before


# --- as it is typed


def test_the_command(tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "fiducial.db"
    with House(database) as house:
        lived(house)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc, x-team = one")
    run = CliRunner()
    done = run.invoke(app, ["otlp", str(database), collector.url])
    assert (done.exit_code, done.output) == (0, "11 spans sent\n")
    assert collector.headers[0]["authorization"] == "Bearer abc"
    assert collector.headers[0]["x-team"] == "one"
    assert collector.headers[0]["path"] == "/v1/traces"
    assert run.invoke(app, ["otlp", str(database), collector.url]).output == "0 spans sent\n"
    with House(database) as house:
        lived(house)
    collector.answers.append((503, b"", {}))
    done = run.invoke(app, ["otlp", str(database), collector.url])
    assert (done.exit_code, "answers 503" in done.output) == (1, True)


def test_the_command_follows_through_an_outage(tmp_path: Path, collector: Collector) -> None:
    database = tmp_path / "fiducial.db"
    collector.answers.append((503, b"", {"retry-after": "0"}))
    with House(database) as house:
        command = [sys.executable, "-c", "from fiducial.cli import main; main()", "log", "otlp"]
        running = subprocess.Popen(
            [*command, str(database), collector.url, "--follow"], stderr=subprocess.PIPE, text=True
        )
        try:
            for times in (1, 2):
                lived(house)
                eventually(lambda times=times: len(collector.spans) == 11 * times, 20)
        finally:
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=20)
    assert running.returncode == 0
    assert said == "fiducial: the collector answers 503, which is tried again\n"


@pytest.mark.parametrize(
    ("arguments", "headers", "said"),
    [
        (["nowhere.db", "http://127.0.0.1:1"], "", "nowhere.db"),
        (["nowhere.db", "collector:4318"], "", "URL such as"),
        (["nowhere.db", "ftp://x"], "", "URL such as"),
        (["{db}", "http://collector.example.org:4318"], "", "https://"),
        (["{db}", "http://127.0.0.1:1", "--content"], "", "--content needs --charter"),
        (["{db}", "http://127.0.0.1:1"], "secret-token", "percent-encoded"),
        (["{db}", "http://127.0.0.1:1"], "a=%0d%0ax", "percent-encoded"),
    ],
)
def test_what_cannot_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], headers: str, said: str
) -> None:
    database = tmp_path / "fiducial.db"
    with House(database):
        pass
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", headers)
    done = CliRunner().invoke(app, ["otlp", *(each.format(db=database) for each in arguments)])
    assert done.exit_code == 2
    assert said in done.output
    assert "secret-token" not in done.output
