"""Headers that every answer carries, and what its request left to be told to the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
_UNLESS_SAID: Final = {  # a page of ours says what it needs instead
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_ASKED: Final = (
    *("Authorization", "X-API-Key", "Content-Type"),
    *("X-Request-Timeout", "Prefer", "Idempotency-Key"),
    *("X-Request-ID", "traceparent", "tracestate"),
)
"""Headers of requests that are read here, and that a browser asks about first."""

_TOLD: Final = (
    *("Embedding-Id", "Location", "Preference-Applied", "Retry-After", "Server-Timing"),
    *("RateLimit", "RateLimit-Policy", "WWW-Authenticate", "X-Request-ID"),
)
"""Headers of answers that a page may read."""


class AnswerHeaders:
    """Add the headers of this module, and those a route left in ``request.state.headers``.

    Parameters
    ----------
    app : ASGI application
        What answers.
    leaving : callable
        Whether connections should end with their answer, because the server is about to end.
    """

    def __init__(self, app: ASGIApp, *, leaving: Callable[[], bool]) -> None:
        self._app = app
        self._leaving = leaving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told: dict[str, str] = scope.setdefault("state", {}).setdefault("headers", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update({**_ALWAYS, **told})
                for name, value in _UNLESS_SAID.items():
                    headers.setdefault(name, value)
                if self._leaving():
                    headers["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def allow_origins(app: FastAPI, origins: str) -> None:
    """Let pages of the web origins named, comma separated, call this server and read its answers.

    Keys travel in a header that the page sets itself, never in cookies.
    """
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[origin.strip() for origin in origins.split(",")],
        allow_methods=["GET", "HEAD", "POST", "DELETE"],
        allow_headers=_ASKED,
        expose_headers=_TOLD,
    )
