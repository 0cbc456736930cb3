"""Spans by OTLP over HTTP: imported only when an endpoint is set.

A request is traced after the fact, from the record that its timings came from; so tracing adds
nothing to the path of a request, and spans, histograms and answers cannot disagree.
"""

from __future__ import annotations

import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.trace.status import Status, StatusCode

from service.telemetry.tracing import Span, Trace

CALL_STAGE = "inference"
"""The stage that is a call of another service: its span is the parent of that service's own."""


class OtlpSpans:
    """Sends spans in batches, from a thread of its own; drops them when the collector is away.

    Parameters
    ----------
    endpoint : str
        URL of the collector. Headers, certificates, batch sizes and further attributes are read
        from the ``OTEL_*`` variables that OpenTelemetry documents.
    version : str
        Of this service.
    """

    def __init__(self, endpoint: str, *, version: str) -> None:
        own = Resource.create({"service.name": "discern", "service.version": version})
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
        self._resource = own.merge(OTELResourceDetector().detect())
        self._scope = InstrumentationScope("discern", version)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))

    def record(self, span: Span) -> None:
        """Take a finished request: one span for it, one for each stage."""
        if not span.trace.sampled:
            return
        for readable in self._spans(span):
            self._processor.on_end(readable)

    def close(self) -> None:
        """Send what is left and end the thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it bare

    def _spans(self, span: Span) -> list[ReadableSpan]:
        # perf_counter has no date: both clocks are read once, now
        offset_ns = time.time_ns() - time.perf_counter_ns()
        trace = span.trace
        own = _context(trace, trace.span_id)
        spans = [
            ReadableSpan(
                span.name,
                context=own,
                parent=_context(trace, trace.parent_id) if trace.parent_id else None,
                resource=self._resource,
                attributes=dict(span.attributes),
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=offset_ns + _ns(span.began_s),
                end_time=offset_ns + _ns(span.ended_s),
                instrumentation_scope=self._scope,
            )
        ]
        for number, (stage, began_s, ended_s) in enumerate(span.stages, start=1):
            is_call = stage == CALL_STAGE
            span_id = trace.call_id if is_call else _child_id(trace.span_id, number)
            spans.append(
                ReadableSpan(
                    stage,
                    context=_context(trace, span_id),
                    parent=own,
                    resource=self._resource,
                    kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
                    start_time=offset_ns + _ns(began_s),
                    end_time=offset_ns + _ns(ended_s),
                    instrumentation_scope=self._scope,
                )
            )
        return spans


def _context(trace: Trace, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace.trace_id, 16),
        int(span_id, 16),
        is_remote=span_id == trace.parent_id,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([trace.state]) if trace.state else None,
    )


def _child_id(span_id: str, number: int) -> str:
    # The request's own id is random; its neighbours are as good as random, and never 0.
    return f"{(int(span_id, 16) + number) % (2**64 - 1) + 1:016x}"


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
