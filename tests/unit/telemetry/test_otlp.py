"""Spans as a collector gets them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from service.telemetry.clock import StageClock
from service.telemetry.tracing import Span, Trace, open_spans
from tests.unit.telemetry.collector import Collector, running_collector

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def finished(trace: Trace, *, failed: bool = False) -> Span:
    clock = StageClock("queue")
    began_s = time.perf_counter()
    for stage in ("decode", "inference", "postprocess"):
        clock.enter(stage)
    clock.read()
    return Span(
        trace=trace,
        name="POST /segment",
        began_s=began_s,
        ended_s=time.perf_counter(),
        stages=clock.intervals,
        attributes={"http.response.status_code": 200},
        failed=failed,
    )


def sent(collector: Collector, *spans: Span) -> dict[str, SentSpan]:
    sink = open_spans(collector.address, version="1.2.3")
    assert sink is not None
    for span in spans:
        sink.record(span)
    sink.close()
    return collector.spans()


def test_a_request_is_a_child_of_its_caller_and_its_stages_are_its_children(
    collector: Collector,
) -> None:
    trace = Trace.begin(f"00-{TRACE}-{PARENT}-01", "vendor=1")
    spans = sent(collector, finished(trace))
    assert spans.keys() == {"POST /segment", "queue", "decode", "inference", "postprocess"}
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    request = spans.pop("POST /segment")
    assert (request.parent_span_id.hex(), request.span_id.hex()) == (PARENT, trace.span_id)
    assert {span.parent_span_id for span in spans.values()} == {request.span_id}
    assert request.trace_state == "vendor=1"


def test_the_stage_that_calls_triton_has_the_id_that_triton_was_told(collector: Collector) -> None:
    trace = Trace.begin(ratio=1.0)
    spans = sent(collector, finished(trace))
    told = trace.outgoing()["traceparent"].split("-")[2]
    assert spans["inference"].span_id.hex() == told
    assert spans["inference"].kind == SentSpan.SPAN_KIND_CLIENT
    assert spans["POST /segment"].kind == SentSpan.SPAN_KIND_SERVER
    assert spans["decode"].kind == SentSpan.SPAN_KIND_INTERNAL


def test_spans_have_the_time_of_day(collector: Collector) -> None:
    before = time.time_ns()
    spans = sent(collector, finished(Trace.begin(ratio=1.0)))
    begins = [span.start_time_unix_nano for span in spans.values()]
    ends = [span.end_time_unix_nano for span in spans.values()]
    # The clock of the day and that of measurements may drift apart a little.
    assert before - 10**7 <= min(begins) <= max(ends) <= time.time_ns() + 10**7


def test_a_fault_of_ours_is_marked(collector: Collector) -> None:
    spans = sent(collector, finished(Trace.begin(ratio=1.0), failed=True))
    assert spans["POST /segment"].status.code == Status.STATUS_CODE_ERROR


def test_the_service_says_its_name_and_version(collector: Collector) -> None:
    sent(collector, finished(Trace.begin(ratio=1.0)))
    told = {item.key: item.value.string_value for item in collector.received[0].resource.attributes}
    assert told["service.name"] == "discern"
    assert told["service.version"] == "1.2.3"


def test_what_is_not_sampled_is_not_sent(collector: Collector) -> None:
    assert sent(collector, finished(Trace.begin(ratio=0.0))) == {}


def test_without_an_endpoint_there_is_nothing_to_send_to() -> None:
    assert open_spans("", version="1.2.3") is None


def test_without_an_endpoint_the_sdk_is_not_even_imported() -> None:
    program = (
        "import sys; from service.app import create_app; from service.settings import Settings; "
        "create_app(Settings()); "
        "sys.exit('opentelemetry.sdk' in sys.modules or 'requests' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
