"""A collector that takes traces by OTLP over HTTP, as the real ones do, and keeps them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


@dataclass(slots=True)
class Collector:
    """What has arrived."""

    address: str = ""
    received: list[ResourceSpans] = field(default_factory=list)
    arrived: Condition = field(default_factory=Condition)

    def spans(self) -> dict[str, Span]:
        """Return the spans by name."""
        scopes = (scope for resource in self.received for scope in resource.scope_spans)
        return {span.name: span for scope in scopes for span in scope.spans}

    def wait_for(self, name: str) -> dict[str, Span]:
        """Return the spans once one of that name has arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: name in self.spans(), timeout=60)
        return self.spans()


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Run a collector on loopback for the length of a block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with collector.arrived:
                collector.received += ExportTraceServiceRequest.FromString(body).resource_spans
                collector.arrived.notify_all()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        collector.address = f"http://127.0.0.1:{server.server_port}/v1/traces"
        yield collector
        server.shutdown()
