"""A collector in the test's own process: OTLP over HTTP or gRPC, as bytes on a socket."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Exported(NamedTuple):
    """One span, as it came."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: list[tuple[str, str]]
    attributes: dict[str, Any]
    failed: bool
    started_ns: int
    ended_ns: int
    resource: dict[str, Any]


class Collector:
    """Receives spans; `answer` is the status that it answers with."""

    def __init__(self) -> None:
        self.spans: list[Exported] = []
        self.answer = 200
        self.requests = 0
        #: of the last request over gRPC
        self.metadata: dict[str, str] = {}
        self._lock = threading.Lock()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
                collector.take(body)
                self.send_response(collector.answer)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, body: bytes) -> None:
        """The body of one request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self._lock:
            self.requests += 1
            if self.answer == 200:
                for each in request.resource_spans:
                    resource = _values(each.resource.attributes)
                    self.spans += [_read(span, resource) for scope in each.scope_spans for span in scope.spans]

    def run(self) -> None:
        """Serve until `close`."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _read(span: Any, resource: dict[str, Any]) -> Exported:
    return Exported(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        attributes=_values(span.attributes),
        failed=span.status.code == 2,
        started_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        resource=resource,
    )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextmanager
def collector() -> Iterator[Collector]:
    """A running collector."""
    made = Collector()
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()


def exporting_to(target: Collector) -> dict[str, str]:
    """The settings and variables of a service that exports to a collector at once, and retries at once."""
    return {
        "HOOKSTREAM_TRACING": "true",
        "HOOKSTREAM_TIME_SCALE": "0.001",
        "OTEL_EXPORTER_OTLP_ENDPOINT": target.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


class _Service(trace_service_pb2_grpc.TraceServiceServicer):
    """Hands the requests of gRPC to a collector."""

    def __init__(self, target: Collector) -> None:
        self._target = target

    def Export(self, request: Any, context: Any) -> Any:
        self._target.metadata = dict(context.invocation_metadata())
        self._target.take(request.SerializeToString())
        if self._target.answer != 200:
            context.abort(grpc.StatusCode.UNAVAILABLE, "planted")
        return ExportTraceServiceResponse()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    """A running collector whose `url` takes OTLP over gRPC."""
    with collector() as target, ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Service(target), server)  # type: ignore[no-untyped-call]
        target.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        try:
            yield target
        finally:
            server.stop(None).wait()
