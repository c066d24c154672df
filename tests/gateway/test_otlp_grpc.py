"""Traces over gRPC: the official exporter, and clients that are none, at a server on loopback."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateway_world import House
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace.export import SpanExportResult
from otlp_world import ROWS, SOON, a_run, eventually, receiving, request, settled, trajectory
from typer.testing import CliRunner

from fiducial.cli import app
from fiducial.errors import StoreError
from fiducial.gateway.app import Doors
from fiducial.gateway.otlp import grpc_door, wire
from fiducial.gateway.otlp.grpc_door import GrpcDoor
from fiducial.gateway.otlp.inbox import Inbox
from fiducial.gateway.otlp.receiver import Patience

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ONE = (("authorization", "Bearer key-of-one"),)
FIRST = (Span(trace_id=bytes(range(1, 17)), span_id=bytes(range(1, 9)), name="GET /"),)
NEVER = Patience(settle=SOON.settle * 10_000, most=SOON.most * 10_000)
CODE = grpc.StatusCode


def served(house: House, patience: Patience = SOON, **more: Any) -> str:
    """Where traces come in over gRPC, once `house` is served anew."""
    opened: list[GrpcDoor] = []

    def add(doors: Doors) -> None:
        assert doors.intake is not None
        opened.append(GrpcDoor(doors.intake, doors.hosts, "localhost:0", **more))
        doors.add_beside(opened[-1])

    house.adds[:] = [add]
    receiving(house, patience)
    return f"localhost:{opened[-1].port}"


@pytest.fixture
def at(house: House) -> str:
    return served(house)


def exporter(at: str, **more: Any) -> OTLPSpanExporter:
    return OTLPSpanExporter(**{"endpoint": f"http://{at}", "headers": ONE, "timeout": 8} | more)


def sent(at: str, *messages: bytes, token: Any = ONE, timeout: float = 8, **more: Any) -> Any:
    """What a client is answered that sends `messages` in one request. Raises `grpc.RpcError`."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(at, options=options, **more) as channel:
        answer = channel.stream_unary(EXPORT)(iter(messages), metadata=token, timeout=timeout)
    return ExportTraceServiceResponse.FromString(answer)


def refused(act: Callable[[], Any]) -> tuple[CODE, str, int | None]:
    """With what `act` is refused: the status, the sentence, and the seconds after which it can be sent again."""
    with pytest.raises(grpc.RpcError) as failed:
        act()
    error: Any = failed.value
    more = dict(error.trailing_metadata())
    after = None
    if "grpc-status-details-bin" in more:
        status = Status.FromString(more["grpc-status-details-bin"])
        assert (status.code, status.message) == (error.code().value[0], error.details())
        for detail in status.details:
            info = RetryInfo()
            assert detail.Unpack(info)
            after = info.retry_delay.seconds
    for_python = more.get("google.rpc.retryinfo-bin")
    assert after == (None if for_python is None else RetryInfo.FromString(for_python).retry_delay.seconds)
    return error.code(), error.details(), after


def body() -> bytes:
    found: bytes = encode_spans(a_run().spans).SerializeToString()
    return found


def begun(act: Callable[[], Any]) -> Callable[[], Any]:
    """`act`, in a thread; what it came to."""
    pool = ThreadPoolExecutor(1)
    doing = pool.submit(act)
    pool.shutdown(wait=False)
    return lambda: doing.result(10)


class Held:
    """Spans that are kept as soon as they may be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may, self.began = threading.Event(), threading.Semaphore(0)
        put = Inbox.put

        def slowly(*given: Any) -> Any:
            self.began.release()
            assert self.may.wait(10)
            return put(*given)

        monkeypatch.setattr(Inbox, "put", slowly)

    def wait(self) -> None:
        assert self.began.acquire(timeout=10)


# --- what comes in


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_run_is_followed(house: House, at: str, compression: grpc.Compression) -> None:
    assert exporter(at, compression=compression).export(a_run().spans) is SpanExportResult.SUCCESS
    settled(house)
    assert trajectory(house) == ROWS


def test_what_is_sent_again_over_the_other_door_is_known(house: House, at: str) -> None:
    message = body()
    assert not sent(at, message).HasField("partial_success")
    settled(house)
    answer = house.client().post("/v1/traces", content=message, headers={"content-type": wire.PROTOBUF})
    assert answer.status_code == 200
    settled(house)
    assert trajectory(house) == ROWS


def test_a_span_that_cannot_be_read_is_counted_and_the_others_are_kept(house: House, at: str) -> None:
    message = ExportTraceServiceRequest.FromString(body())
    spans = message.resource_spans[0].scope_spans[0].spans
    spans.append(Span(trace_id=b"short", name="x"))
    partial = sent(at, message.SerializeToString()).partial_success
    assert (partial.rejected_spans, partial.error_message) == (1, "a span has no valid trace id")
    settled(house)
    assert trajectory(house) == ROWS


def test_many_exporters_at_once(house: House, at: str) -> None:
    runs = [a_run() for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        done = set(pool.map(lambda agent: exporter(at).export(agent.spans), runs))
    assert done == {SpanExportResult.SUCCESS}
    settled(house)
    assert sorted(trajectory(house)) == sorted(ROWS * 8)


# --- what does not


NOBODY: list[Any] = [(), (("authorization", "Bearer nobodys"),), (("authorization", "Basic eA=="),)]


@pytest.mark.parametrize("token", NOBODY)
def test_nobody_comes_in_without_a_token(house: House, at: str, token: Any) -> None:
    code, why, after = refused(lambda: sent(at, body(), token=token))
    assert (code, after) == (CODE.UNAUTHENTICATED, None)
    assert "the token of a host" in why
    assert exporter(at, headers=token).export(a_run().spans) is SpanExportResult.FAILURE
    assert not house.store.scan("otlp/")


@pytest.mark.parametrize("token", NOBODY)
def test_the_token_is_looked_at_before_a_message_has_come(at: str, token: Any) -> None:
    may = threading.Event()

    def nothing_yet() -> Iterator[bytes]:
        may.wait(10)
        yield from ()

    with grpc.insecure_channel(at) as channel:
        call = channel.stream_unary(EXPORT)
        try:
            code, _, _ = refused(lambda: call(nothing_yet(), metadata=token, timeout=5))
        finally:
            may.set()
    assert code is CODE.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ((), "the request has no message"),
        ((body(), body()), "a request is one message"),
        ((b"\xff" * 40,), "the body is no ExportTraceServiceRequest"),
        ((body()[:-3],), "the body is no ExportTraceServiceRequest"),
        ((b'{"resourceSpans": []}',), "the body is no ExportTraceServiceRequest"),
        ((gzip.compress(body())[:-9],), "the body ends within its gzip"),
        ((b"\x1f\x8b\xff\xff" * 9,), "the body is no gzip"),
        ((gzip.compress(b"\xff" * 40),), "the body is no ExportTraceServiceRequest"),
    ],
)
def test_what_cannot_be_read_is_refused(house: House, at: str, messages: tuple[bytes, ...], why: str) -> None:
    assert refused(lambda: sent(at, *messages)) == (CODE.INVALID_ARGUMENT, why, None)
    assert not house.store.scan("otlp/")


def test_nothing_is_packed_in_another_way(house: House, at: str) -> None:
    code, _, _ = refused(lambda: sent(at, body(), compression=grpc.Compression.Deflate))
    assert code is CODE.UNIMPLEMENTED
    assert not house.store.scan("otlp/")


@given(st.binary(max_size=200))
def test_no_message_begins_as_gzip_does(rest: bytes) -> None:
    with pytest.raises(DecodeError):
        ExportTraceServiceRequest.FromString(b"\x1f" + rest)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        # Said by gRPC, which does not take the message in.
        (b"\0" * (wire.MAX_BODY + 1), "larger than max"),
        (gzip.compress(b"\0" * (wire.MAX_BODY + 1)), "when it is decompressed"),
        (request(*FIRST * (wire.MAX_SPANS + 1)).SerializeToString(), f"at most {wire.MAX_SPANS} spans"),
    ],
    ids=["bytes", "unpacked", "spans"],
)
def test_what_is_too_large_is_refused_for_good(house: House, at: str, message: bytes, said: str) -> None:
    code, why, after = refused(lambda: sent(at, message))
    assert (code, said in why, after) == (CODE.RESOURCE_EXHAUSTED, True, None)
    assert not house.store.scan("otlp/")


def test_what_a_message_was_packed_from_is_bounded_by_what_it_takes_unpacked(house: House, at: str) -> None:
    code, why, _ = refused(lambda: sent(at, b"\0" * (wire.MAX_BODY + 1), compression=grpc.Compression.Gzip))
    assert (code, why) == (
        CODE.RESOURCE_EXHAUSTED,
        f"a request has at most {wire.MAX_BODY} bytes when it is decompressed",
    )
    assert not house.store.scan("otlp/")


def test_a_message_that_does_not_come_is_not_waited_for(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_door, "ARRIVES", 0.1)
    may = threading.Event()

    def half() -> Iterator[bytes]:
        yield body()
        may.wait(10)

    with grpc.insecure_channel(at) as channel:
        call = channel.stream_unary(EXPORT)
        try:
            code, why, _ = refused(lambda: call(half(), metadata=ONE, timeout=5))
        finally:
            may.set()
    assert (code, why.startswith("a request arrives within")) == (CODE.DEADLINE_EXCEEDED, True)


def test_logs_and_metrics_are_not_taken_in(at: str) -> None:
    with grpc.insecure_channel(at) as channel:
        for kind in ("logs.v1.Logs", "metrics.v1.Metrics"):
            export = channel.unary_unary(f"/opentelemetry.proto.collector.{kind}Service/Export")
            assert refused(partial(export, b"", metadata=ONE, timeout=5))[0] is CODE.UNIMPLEMENTED


# --- what can be sent again


def test_a_full_inbox_says_when_to_come_again_and_the_exporter_does(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = served(house, NEVER)
    sent(at, body())
    size = sum(int(cell.value) for cell in house.store.scan("otlp/waiting/").values())
    with monkeypatch.context() as full:
        full.setattr("fiducial.gateway.otlp.receiver.MAX_WAITING", size + 100)
        code, why, after = refused(lambda: sent(at, body()))
        assert (code, after) == (CODE.RESOURCE_EXHAUSTED, wire.LATER)
        assert why == "too much waits to be followed; send it again later"
        monkeypatch.setattr(wire, "LATER", 1)
        came = begun(lambda: exporter(at).export(a_run().spans))
        time.sleep(0.3)
    assert came() is SpanExportResult.SUCCESS


def test_too_much_of_one_host_at_once_is_for_later_at_both_doors(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    at, message, held = served(house), body(), Held(monkeypatch)
    monkeypatch.setattr("fiducial.gateway.otlp.intake.MAX_UNDERWAY", len(message) + 100)
    first = begun(lambda: sent(at, message))
    held.wait()
    code, why, after = refused(lambda: sent(at, message))
    assert (code, why, after) == (CODE.RESOURCE_EXHAUSTED, "too much at once; send it again later", wire.LATER)
    answer = house.client().post("/v1/traces", content=message, headers={"content-type": wire.PROTOBUF})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, str(wire.LATER))
    assert Status.FromString(answer.content).details[0].Is(RetryInfo.DESCRIPTOR)
    other = begun(lambda: sent(at, message, token=(("authorization", "Bearer key-of-two"),)))
    held.wait()
    held.may.set()
    first(), other()
    sent(at, message)


def test_a_store_that_is_lost_is_not_answered_as_kept(
    house: House, at: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as away:

        def lost(*_: Any) -> Any:
            raise StoreError("the disk is gone, and its password was hunter2")

        away.setattr(Inbox, "put", lost)
        code, why, after = refused(lambda: sent(at, body()))
        assert (code, after) == (CODE.UNAVAILABLE, wire.LATER)
        assert "hunter2" not in why
        assert EXPORT[1:] in caplog.text
        monkeypatch.setattr(wire, "LATER", 1)
        came = begun(lambda: exporter(at).export(a_run().spans))
        time.sleep(0.3)
    assert came() is SpanExportResult.SUCCESS
    settled(house)
    assert trajectory(house) == ROWS


def test_a_fault_is_an_answer_that_does_not_tell_of_it(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(wire, "spans", broken)
    assert refused(lambda: sent(at, body())) == (CODE.INTERNAL, "the server's log says what", None)


# --- the end


def test_what_was_begun_is_kept_and_followed_when_the_exporter_does_not_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = served(house, Patience(settle=SOON.settle, most=SOON.most, look=SOON.look * 10_000))
    held = Held(monkeypatch)
    code, _, _ = refused(lambda: sent(at, body(), timeout=0.3))
    assert code is CODE.DEADLINE_EXCEEDED
    held.wait()
    held.may.set()
    eventually(lambda: trajectory(house) == ROWS)


@pytest.mark.parametrize("grace", [0.1, 5])
def test_what_was_begun_is_kept_when_the_server_stops(
    house: House, monkeypatch: pytest.MonkeyPatch, grace: float
) -> None:
    monkeypatch.setattr(grpc_door, "GRACE", grace)
    at, held = served(house, NEVER), Held(monkeypatch)
    came = begun(lambda: sent(at, body()))
    held.wait()
    stopped = begun(house.stop)
    if grace < 1:
        code, _, after = refused(came)
        assert (code in (CODE.UNAVAILABLE, CODE.CANCELLED), after) == (True, None)
        assert not house.store.scan("otlp/")
    else:
        time.sleep(0.3)
    held.may.set()
    if grace > 1:
        came()
    stopped()
    assert len(house.store.scan("otlp/spans/")) == 1
    with socket.socket() as gone:
        assert gone.connect_ex(("127.0.0.1", int(at.rpartition(":")[2]))) != 0


def test_two_servers_are_not_at_one_address(house: House, at: str) -> None:
    assert house.doors.intake is not None
    second = GrpcDoor(house.doors.intake, house.doors.hosts, at)

    async def opened() -> None:
        async with second.lifespan():
            pass

    with pytest.raises(RuntimeError, match="Failed to bind"):
        asyncio.run(opened())


# --- TLS


def test_it_is_encrypted_where_there_is_a_certificate(house: House, certificate: Any) -> None:
    at = served(house, tls=(certificate.certificate.read_bytes(), certificate.key.read_bytes()))
    trusting = grpc.ssl_channel_credentials(certificate.certificate.read_bytes())
    encrypted = {"endpoint": f"https://{at}", "timeout": 2}
    assert exporter(at, **encrypted).export(a_run().spans) is SpanExportResult.FAILURE
    assert exporter(at, timeout=2).export(a_run().spans) is SpanExportResult.FAILURE
    assert not house.store.scan("otlp/")
    assert exporter(at, **encrypted, credentials=trusting).export(a_run().spans) is SpanExportResult.SUCCESS
    settled(house)
    assert trajectory(house) == ROWS


# --- the command


def free() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture
def charter(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    assert CliRunner().invoke(app, ["init", str(tmp_path / "agent")]).exit_code == 0
    return tmp_path / "agent"


def test_the_command_takes_traces_in_and_keeps_them(charter: Path, certificate: Any) -> None:
    console, traces, store = free(), free(), str(charter.parent / "shop.db")
    tls = ["--certificate", str(certificate.certificate), "--key", str(certificate.key)]
    listens = ["--charter", str(charter), "--listen", console, "--otlp-grpc", traces]
    server = subprocess.Popen(
        [sys.executable, "-m", "fiducial", "up", store, *listens, *tls], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert f"https://{console}/" in server.stdout.readline()
        made = CliRunner().invoke(app, ["token", "support-bot", "--db", store, "--by", "olga"])
        assert made.exit_code == 0, made.output
        trusting = grpc.ssl_channel_credentials(certificate.certificate.read_bytes())
        named = (("grpc.ssl_target_name_override", "localhost"),)
        with grpc.secure_channel(traces, trusting, named) as channel:
            grpc.channel_ready_future(channel).result(20)
            export = channel.unary_unary(EXPORT)
            assert export(body(), metadata=(("authorization", f"Bearer {made.stdout.strip()}"),), timeout=10) == b""
    finally:
        os.kill(server.pid, signal.SIGINT)
        server.communicate(timeout=20)
    assert server.returncode == 0
    with House(charter.parent / "shop.db") as after:
        assert len(after.store.scan("otlp/spans/")) == 1


def test_what_it_cannot_listen_at_is_said_before_a_link_is_printed(charter: Path) -> None:
    console = free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for at, why in (
            (f"127.0.0.1:{taken.getsockname()[1]}", "cannot be listened at"),
            (console, "cannot be listened at"),
            ("no-such-host.invalid:4317", "others can reach"),
            ("0.0.0.0:4317", "others can reach"),
            ("4317", "no HOST:PORT"),
            ("localhost:0", "no HOST:PORT"),
        ):
            words = ["up", str(charter.parent / "f.db"), "--charter", str(charter), "--listen", console]
            done = CliRunner().invoke(app, [*words, "--url", "https://a.example", "--otlp-grpc", at])
            assert (done.exit_code, done.stdout) == (2, ""), at
            assert why in done.stderr, at


def without(package: str, statement: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `statement` in a process where `package` is not installed."""
    code = f"import sys; sys.modules[{package!r}] = None; {statement}"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("missing", ["grpc", "google.rpc.error_details_pb2"])
def test_where_it_is_not_installed_the_command_says_what_to_install(charter: Path, missing: str) -> None:
    words = ["up", str(charter.parent / "f.db"), "--charter", str(charter), "--otlp-grpc", free(), "--listen", free()]
    done = without(missing, "from fiducial.cli import app; app()", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"`{missing}` is not installed: pip install 'fiducial[console,otel-grpc]'" in done.stderr
    assert not (charter.parent / "f.db").exists()


def test_without_grpc_the_other_door_is_there_all_the_same() -> None:
    assert without("grpc", "from fiducial.gateway.otlp.door import TracesDoor").returncode == 0
    done = without("grpc", "from fiducial.gateway.otlp.grpc_door import GrpcDoor")
    assert "ModuleNotFoundError" in done.stderr
