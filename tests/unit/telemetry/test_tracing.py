from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.telemetry.tracing import Trace, exemplar

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{PARENT}-01"
FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


def test_a_callers_trace_is_continued() -> None:
    trace = Trace.begin(GIVEN, "vendor=1")
    assert (trace.trace_id, trace.parent_id, trace.sampled) == (TRACE, PARENT, True)
    assert trace.state == "vendor=1"


def test_the_call_of_the_network_has_a_span_of_its_own_in_the_same_trace() -> None:
    trace = Trace.begin(GIVEN, "vendor=1")
    assert trace.outgoing() == {
        "traceparent": f"00-{TRACE}-{trace.call_id}-01",
        "tracestate": "vendor=1",
    }
    assert len({trace.span_id, trace.call_id, PARENT}) == 3


def test_a_caller_that_does_not_sample_is_heeded() -> None:
    trace = Trace.begin(f"00-{TRACE}-{PARENT}-00", ratio=1.0)
    assert not trace.sampled
    assert trace.outgoing()["traceparent"].endswith("-00")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    trace = Trace.begin(f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like")
    assert (trace.trace_id, trace.parent_id) == (TRACE, PARENT)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE[:-1]}-{PARENT}-01",
    ],
)
def test_a_malformed_header_begins_a_trace_of_its_own(header: str) -> None:
    trace = Trace.begin(header, "vendor=1")
    assert trace.trace_id != TRACE
    assert (trace.parent_id, trace.state, trace.sampled) == ("", "", False)


@given(st.text(), st.text())
def test_whatever_comes_in_what_goes_out_is_well_formed(parent: str, state: str) -> None:
    assert FORM.fullmatch(Trace.begin(parent, state).outgoing()["traceparent"])


def test_the_ratio_decides_for_traces_that_begin_here() -> None:
    assert all(Trace.begin(ratio=1.0).sampled for _ in range(20))
    assert not any(Trace.begin(ratio=0.0).sampled for _ in range(20))


def test_an_exemplar_names_the_trace() -> None:
    assert exemplar(Trace.begin(GIVEN).outgoing()) == {"trace_id": TRACE}
    assert exemplar({}) is None
