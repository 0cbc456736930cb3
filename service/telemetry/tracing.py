"""Traces: W3C trace context in and out, and a finished request as spans for whoever asked for them.

Nothing here imports OpenTelemetry; `open_spans` does when an endpoint is set.
"""

from __future__ import annotations

import random
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from service.errors import ArtefactError
from service.telemetry.clock import Interval

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

# https://www.w3.org/TR/trace-context/#traceparent-header: later versions may append fields.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class Trace:
    """Where one request stands in its trace.

    Parameters
    ----------
    trace_id : str
        32 hexadecimal digits, the caller's or our own.
    span_id : str
        16 hexadecimal digits: the request in this gateway.
    call_id : str
        The same: its call of the network, the parent of what Triton traces.
    parent_id : str
        The caller's span, empty when the trace begins here.
    sampled : bool
        Whether spans are to be recorded; the caller's word, where there is one.
    state : str
        ``tracestate`` as it came.
    """

    trace_id: str
    span_id: str
    call_id: str
    parent_id: str = ""
    sampled: bool = False
    state: str = ""

    @classmethod
    def begin(cls, traceparent: str = "", tracestate: str = "", *, ratio: float = 0.0) -> Trace:
        """Continue the caller's trace, or begin one.

        Parameters
        ----------
        traceparent, tracestate : str
            The caller's headers, empty when absent; what is malformed counts as absent.
        ratio : float
            Part of the traces that begin here which is sampled.
        """
        span_id, call_id = secrets.token_hex(8), secrets.token_hex(8)
        found = _TRACEPARENT.fullmatch(traceparent.strip())
        if found is None or (found["version"] == "00" and found["more"]):
            sampled = ratio > 0 and random.random() < ratio  # noqa: S311 - chooses, protects nothing
            return cls(secrets.token_hex(16), span_id, call_id, sampled=sampled)
        sampled = bool(int(found["flags"], 16) & _SAMPLED)
        return cls(found["trace"], span_id, call_id, found["span"], sampled, tracestate)

    def outgoing(self) -> dict[str, str]:
        """Return the headers of the call of the network."""
        flags = _SAMPLED if self.sampled else 0
        headers = {TRACEPARENT: f"00-{self.trace_id}-{self.call_id}-{flags:02x}"}
        return {**headers, TRACESTATE: self.state} if self.state else headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A finished request, ready to be traced.

    Parameters
    ----------
    trace : Trace
        Which trace it belongs to.
    name : str
        Method and route.
    began_s, ended_s : float
        On the clock of `time.perf_counter`, as are `stages`.
    stages : sequence of Interval
        What the request went through.
    attributes : mapping
        What else is known, by OpenTelemetry's names where it has one.
    failed : bool
        True when the fault was on this side.
    """

    trace: Trace
    name: str
    began_s: float
    ended_s: float
    stages: Sequence[Interval]
    attributes: Mapping[str, str | int | float]
    failed: bool = False


class Spans(Protocol):
    """Takes finished requests."""

    def record(self, span: Span) -> None:
        """Take one; returns at once, whatever becomes of it."""

    def close(self) -> None:
        """Send what is left; may take seconds."""


def open_spans(endpoint: str, *, version: str) -> Spans | None:
    """Return where spans go, or None when nobody asked for them.

    Parameters
    ----------
    endpoint : str
        URL that takes OTLP over HTTP, such as ``http://collector:4318/v1/traces``.
    version : str
        Of this service.

    Raises
    ------
    ArtefactError
        If the extra ``otlp`` is not installed.
    """
    if not endpoint:
        return None
    try:
        from service.telemetry.otlp import OtlpSpans
    except ImportError as error:
        raise ArtefactError(
            "DISCERN_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "pip install 'discern[otlp]'"
        ) from error
    return OtlpSpans(endpoint, version=version)


def exemplar(headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the exemplar that ties a measurement to the trace of these headers."""
    traceparent = headers.get(TRACEPARENT)
    return {"trace_id": traceparent[3:35]} if traceparent else None
