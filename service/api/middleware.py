"""Around every request: its id and trace, its duration, its line in the log, its spans.

Plain ASGI, bodies untouched. What a route knows it leaves in ``request.state``: fields of the log
in ``log`` (``model`` is also a label), the stages in ``clock``, a failure's code in ``outcome``.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.formats import timings_ms
from service.telemetry.metrics import REFUSALS, SEGMENT_ROUTE, Metrics
from service.telemetry.tracing import TRACEPARENT, TRACESTATE, Span, Spans, Trace

REQUEST_ID: Final = "X-Request-ID"
CLIENT_GONE: Final = 499
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_LOG = logging.getLogger("service.access")


class Observe:
    """Give every request an id and a place in a trace; time it, count it, log it.

    Parameters
    ----------
    app : ASGI application
        What answers.
    metrics : Metrics
        Gets the counts and durations.
    spans : Spans, optional
        Gets the finished requests.
    trace_ratio : float
        Part of the traces that begin here which is sampled.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        spans: Spans | None = None,
        trace_ratio: float = 0.0,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._spans = spans
        self._trace_ratio = trace_ratio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(headers)
        state["trace"] = _trace(headers, self._trace_ratio)
        state["log"] = {}
        state["began_s"] = began_s = time.perf_counter()
        status = CLIENT_GONE  # what it stays when nothing could be sent
        bytes_in = bytes_out = 0

        async def receive_and_count() -> Message:
            nonlocal bytes_in
            message = await receive()
            bytes_in += len(message.get("body", b""))
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal status, bytes_out
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            else:
                bytes_out += len(message.get("body", b""))
            await send(message)

        self._metrics.active_requests.inc()
        try:
            await self._app(scope, receive_and_count, send_and_note)
        except Exception:
            status = 500  # its answer had begun, and now breaks off
            raise
        finally:
            self._metrics.active_requests.dec()
            self._finish(scope, status, began_s, {"bytes_in": bytes_in, "bytes_out": bytes_out})

    def _finish(self, scope: Scope, status: int, began_s: float, sizes: dict[str, int]) -> None:
        ended_s = time.perf_counter()
        state = scope["state"]
        # The route's template, never the path: labels must come from a bounded set.
        route = getattr(scope.get("route"), "path", "unmatched")
        outcome = state.get("outcome") or _outcome(status)
        trace: Trace = state["trace"]
        self._metrics.request_duration.labels(scope["method"], route, str(status)).observe(
            ended_s - began_s, {"trace_id": trace.trace_id}
        )
        is_segment = route == SEGMENT_ROUTE
        if is_segment:
            self._metrics.requests.labels(state["log"].get("model", "unknown"), outcome).inc()
            if "client" in state["log"]:
                self._metrics.client_requests.labels(state["log"]["client"], outcome).inc()
            if outcome in REFUSALS:
                self._metrics.rejected.labels(outcome).inc()
        level = logging.INFO if is_segment else logging.DEBUG
        traced = self._spans is not None and trace.sampled
        if not (traced or _LOG.isEnabledFor(level)):
            return
        fields = {"outcome": outcome, **sizes, **state["log"], **_stages_ms(state)}
        _LOG.log(level, "request", extra={"fields": {
            "request_id": state["request_id"],
            "trace_id": trace.trace_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round((ended_s - began_s) * 1e3, 2),
            **fields,
        }})  # fmt: skip
        if self._spans is not None:
            clock = state.get("clock")
            self._spans.record(Span(
                trace=trace,
                name=f"{scope['method']} {route}",
                began_s=began_s,
                ended_s=ended_s,
                stages=clock.intervals if clock else (),
                attributes={
                    "http.request.method": scope["method"],
                    "http.route": route,
                    "http.response.status_code": status,
                    "discern.request_id": state["request_id"],
                    **{f"discern.{name}": value for name, value in fields.items()},
                },
                failed=status >= 500,
            ))  # fmt: skip


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex


def _trace(headers: Headers, ratio: float) -> Trace:
    parents = headers.getlist(TRACEPARENT)
    parent = parents[0] if len(parents) == 1 else ""  # several are as good as none, says the W3C
    return Trace.begin(parent, ",".join(headers.getlist(TRACESTATE)), ratio=ratio)


def _outcome(status: int) -> str:
    if status == CLIENT_GONE:
        return "client-gone"
    return "ok" if status < 400 else "internal-error"


def _stages_ms(state: dict[str, Any]) -> dict[str, float]:
    clock = state.get("clock")
    spent = timings_ms(clock.timings) if clock else {}
    return {f"{stage}_ms": value for stage, value in spent.items()}
