"""Sending the log on to a collector, as OTLP over HTTP.

1. Entries are read in order from where the cursor stands, a cell of the store for each collector: `otlp-sent/…`.
2. Their spans are sent in requests of at most `MAX_REQUEST` bytes.
3. When the collector has answered that it has them, the cursor is moved on, under the precondition that nobody else
   did.

So nothing is lost, whatever stops in between; what was sent and not noted is sent again, with the same ids, and a
second exporter to the same collector is refused. Spans that the collector answers it cannot take are reported, and not
sent again, as the protocol asks. It runs in a process of its own and reads: whatever happens here, no call waits for
it.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

import httpx2
import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

import fiducial
from fiducial.core.store import Commit, Put, Unchanged
from fiducial.errors import RolledBack
from fiducial.flow.masking.detect import BUILT_IN, Detection
from fiducial.gateway.otlp import conventions as names
from fiducial.gateway.otlp import mapping
from fiducial.gateway.otlp.spans import VERSION
from fiducial.gateway.otlp.wire import PROTOBUF
from fiducial.gateway.trusted import trusted
from fiducial.store.ledger import LedgerStore

SENT: Final = "otlp-sent/"
ENTRIES: Final = 256
"""Entries read at once."""
MAX_REQUEST: Final = 1024 * 1024
"""Bytes of spans in a request, or one span; collectors take four times that."""
TIMEOUT: Final = 10.0
"""Seconds for a request, as of the SDKs."""
FIRST, LONGEST = timedelta(seconds=1), timedelta(minutes=1)
"""The wait after the first failure, twice as long after each further one, and the longest."""
_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_NOT_NOW: Final = frozenset({401, 403, 404, 407})
"""What somebody has to set right; then it goes on."""


class Sent(msgspec.Struct, frozen=True):
    """What became of one attempt."""

    spans: int = 0
    """Spans that the collector has now."""
    more: bool = False
    """Something is left in the log."""
    refused: str = ""
    """What the collector said about spans that it does not take."""
    failed: str = ""
    """Why it does not have the rest yet."""
    wait: timedelta = timedelta()
    """How long to wait then."""


class Exporter:
    """Sends one log to one collector. Used by one thread.

    url       the collector's address, to which `/v1/traces` is appended unless it ends so
    headers   sent along, such as `Authorization`
    content   also tell what was said, asked and returned, without what has a data class
    detection what tells data classes there
    """

    def __init__(
        self,
        store: LedgerStore,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bool = False,
        detection: Detection = BUILT_IN,
    ) -> None:
        self._store, self._ledger = store, store.ledger()
        self._url = url if url.endswith("/v1/traces") else url.rstrip("/") + "/v1/traces"
        self._cell = SENT + hashlib.sha256(self._url.encode()).hexdigest()[:32]
        self._mapping, self._content = mapping.Mapping(self._ledger, content=content, detection=detection), content
        self._headers = {**(headers or {}), "content-type": PROTOBUF, "user-agent": f"fiducial/{fiducial.__version__}"}
        self._client = httpx2.Client(timeout=TIMEOUT, follow_redirects=False, verify=trusted())
        self._failures = 0

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def send(self) -> Sent:
        """Send what comes next. Raises `StoreError` when the log cannot be read or the cursor not kept: among them
        `Conflict` when another exporter sends to the same collector, `RolledBack` when more was sent than the log has.
        """
        cell = self._store.read([self._cell]).get(self._cell)
        start, version = (int(cell.value), cell.version) if cell is not None else (0, 0)
        size = self._ledger.size
        if start > size:
            raise RolledBack(
                f"the collector was sent {start} entries of this log, which has {size}: it is an older copy; "
                "run `fiducial log verify` with a checkpoint from before"
            )
        stop = min(size, start + ENTRIES)
        if stop <= start:
            return Sent()
        entries = self._ledger.entries(start, stop, payloads=self._content)
        spans = [span for record in entries for span in self._mapping.spans(record)]
        refused: list[str] = []
        for request in self._requests(spans):
            failed, said, wait = self._posted(request)
            if failed:
                self._failures += 1
                return Sent(refused="; ".join(refused), failed=failed, wait=wait or self._pause())
            if said:
                refused.append(said)
        self._failures = 0
        moved = Commit(changes=(Put(self._cell, b"%d" % stop),), preconditions=(Unchanged(self._cell, version),))
        self._store.commit(moved).result()
        return Sent(spans=len(spans), more=stop < size, refused="; ".join(dict.fromkeys(refused)))

    def _pause(self) -> timedelta:
        longest: timedelta = min(LONGEST, FIRST * 2.0 ** min(self._failures - 1, 10))
        return longest * random.uniform(0.5, 1)  # noqa: S311 - so that many do not come back at once

    def _requests(self, spans: list[Span]) -> Iterator[ExportTraceServiceRequest]:
        part: list[Span] = []
        size = 0
        for span in spans:
            if part and size + span.ByteSize() > MAX_REQUEST:
                yield self._request(part)
                part, size = [], 0
            part.append(span)
            size += span.ByteSize()
        if part:
            yield self._request(part)

    def _request(self, spans: list[Span]) -> ExportTraceServiceRequest:
        told = {"service.name": "fiducial", "fiducial.log": self._ledger.origin, "fiducial.conventions": _CONVENTIONS}
        resource = Resource(attributes=[KeyValue(key=key, value=AnyValue(string_value=told[key])) for key in told])
        scope = InstrumentationScope(name=names.SCOPE, version=fiducial.__version__)
        within = ScopeSpans(scope=scope, spans=spans, schema_url=names.SEMCONV_URL)
        return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[within])])

    def _posted(self, request: ExportTraceServiceRequest) -> tuple[str, str, timedelta | None]:
        """Why the collector does not have it; what it does not take of it; and how long it wants to be left alone."""
        try:
            answer = self._client.post(self._url, content=request.SerializeToString(), headers=self._headers)
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            return f"the collector cannot be reached ({type(error).__name__})", "", None
        status, after = answer.status_code, answer.headers.get("retry-after", "")
        if 200 <= status < 300:
            return "", _partly(answer.content), None
        if status in _AGAIN or status >= 500 or status in _NOT_NOW or 300 <= status < 400:
            asked = timedelta(seconds=int(after)) if after.isascii() and after.isdigit() and len(after) < 6 else None
            return f"the collector answers {status}", "", min(asked, LONGEST) if asked is not None else None
        count = sum(len(scope.spans) for each in request.resource_spans for scope in each.scope_spans)
        return "", f"the collector answers {status} to {count} spans", None


_CONVENTIONS: Final = f"gen_ai {names.GENAI_VERSION}, mapping {VERSION}"


def _partly(answer: bytes) -> str:
    """What of an answer says that spans were not taken."""
    try:
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return ""
    if not partial.rejected_spans and not partial.error_message:
        return ""
    return f"the collector does not take {partial.rejected_spans} spans: {partial.error_message[:200]}"


__all__ = ["ENTRIES", "MAX_REQUEST", "SENT", "Exporter", "Sent"]
