"""HTTP by hand: requests that stop, stall or break off where a well-behaved client would not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

GONE = 0
"""The status of a request whose connection ended without an answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Status (`GONE` without one), seconds it took, headers, body."""

    status: int
    seconds: float
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where a gateway listens."""

    host: str
    port: int

    @classmethod
    def at(cls, address: str) -> Target:
        parts = urlsplit(address)
        assert parts.hostname is not None
        assert parts.port is not None
        return cls(parts.hostname, parts.port)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    async def request(
        self, method: str, path: str, body: bytes = b"", kind: str = "image/png", extra: str = ""
    ) -> Outcome:
        """Send one request on a connection of its own."""
        began = time.perf_counter()
        try:
            reader, writer = await self.connect()
        except OSError:
            return Outcome(GONE, time.perf_counter() - began, {}, b"refused")
        try:
            writer.write(head(method, path, len(body), kind, extra) + body)
            return await asyncio.wait_for(_answer(reader, began), 120)
        except (OSError, asyncio.IncompleteReadError, ValueError, IndexError):
            return Outcome(GONE, time.perf_counter() - began, {}, b"")
        finally:
            await _ended(writer)


def head(method: str, path: str, length: int, kind: str = "image/png", extra: str = "") -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n{extra}\r\n"
    ).encode()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection as a process that dies does."""
    writer.transport.abort()
    await _ended(writer)


async def gather_limited(limit: int, work: Sequence[Awaitable[Outcome]]) -> list[Outcome]:
    """Await all, so many at once."""
    places = asyncio.Semaphore(limit)

    async def one(item: Awaitable[Outcome]) -> Outcome:
        async with places:
            return await item

    return await asyncio.gather(*(one(item) for item in work))


async def _answer(reader: asyncio.StreamReader, began: float) -> Outcome:
    top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in top[1:] if line)
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return Outcome(int(top[0].split(" ")[1]), time.perf_counter() - began, headers, body)


async def _ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        return
