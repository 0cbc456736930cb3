"""An application called by hand, message by message, as a server does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import numpy as np
import orjson
from fastapi import FastAPI
from PIL import Image

StartApp = Callable[..., Awaitable[FastAPI]]
Connect = Callable[[FastAPI], Awaitable[httpx2.AsyncClient]]


async def until(condition: Callable[[], object]) -> None:
    """Return once a condition holds; fail after ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - any condition, not only one with an event
            await asyncio.sleep(0.002)


def png(corner: int = 0, side_px: int = 16) -> bytes:
    """Return a small picture whose first pixel is the lever of `tests.contract.networks`."""
    pixels = np.zeros((side_px, side_px, 3), np.uint8)
    pixels[0, 0] = corner
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Call:
    """One request whose body and end are in the test's hands."""

    app: FastAPI
    path: str = "/segment"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.ensure_future(self._run())

    def send(self, body: bytes, *, more: bool = False) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    def problem(self) -> Any:
        return orjson.loads(b"".join(message.get("body", b"") for message in self.sent))

    async def answered(self) -> int:
        """Wait for the end and return the status."""
        await self.task
        return self.status

    async def _run(self) -> None:
        headers = {"content-type": "image/png"} | self.headers
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), v.encode()) for name, v in headers.items()],
            "client": ("192.0.2.7", 4711),
            "server": ("gateway", 80),
        }
        await self.app(scope, self._messages.get, self._note)

    async def _note(self, message: Any) -> None:
        self.sent.append(message)
