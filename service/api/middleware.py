"""Around every request: its id, its duration, its line in the log. Plain ASGI, bodies untouched."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry.metrics import Metrics

REQUEST_ID: Final = "X-Request-ID"
_ACCEPTED_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_LOG = logging.getLogger("service.access")


class Observe:
    """Give every request an id, time it, count it and log it."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"] = request_id = _request_id(Headers(scope=scope))
        state["began_s"] = began = time.perf_counter()
        status = 499  # what it stays when nothing could be sent: the client has gone

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        self._metrics.active_requests.inc()
        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            status = 500  # answered further out, by the handler of unknown errors
            raise
        finally:
            self._metrics.active_requests.dec()
            self._finish(scope, status, time.perf_counter() - began)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's template, never the path: labels must come from a bounded set.
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request_duration.labels(scope["method"], route, str(status)).observe(seconds)
        fields: dict[str, Any] = {
            "request_id": scope["state"]["request_id"],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(seconds * 1e3, 2),
            **scope["state"].get("log", {}),
        }
        level = logging.INFO if route == "/segment" else logging.DEBUG
        _LOG.log(level, "request", extra={"fields": fields})


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID, "")
    return given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
