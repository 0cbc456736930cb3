"""A Service and its callers, for tests that change what is behind a Service while it is used."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


class Service:
    """Hands each new connection to one of its endpoints in turn, as a Kubernetes Service does.

    It looks into nothing and tries nothing twice: a connection that an endpoint refuses or breaks
    is a failed request.
    """

    def __init__(self, endpoints: list[str]) -> None:
        self.endpoints = endpoints
        self.port = 0
        self._turn = itertools.count()
        self._carried: list[asyncio.Task[None]] = []
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    def __enter__(self) -> Service:
        self._thread.start()
        self._listening.wait(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listening.set()
            await self._ended.wait()
        await asyncio.gather(*self._carried)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._carried.append(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        endpoints = list(self.endpoints)
        target = urlsplit(endpoints[next(self._turn) % len(endpoints)])
        with contextlib.suppress(OSError):
            back_reader, back_writer = await asyncio.open_connection(target.hostname, target.port)
            ways = [_pour(reader, back_writer), _pour(back_reader, writer)]
            tasks = [asyncio.create_task(way) for way in ways]
            _, open_end = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in open_end:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _close(back_writer)
        await _close(writer)


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@dataclass
class Callers:
    """Post one image again and again, and count the answers.

    Each request has a connection of its own, or, with `keep_alive`, uses the one before for as long
    as the server lets it.
    """

    port: int
    image: bytes
    callers: int = 3
    keep_alive: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Callers:
        self._threads = [threading.Thread(target=self._call) for _ in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Finish the requests under way and begin no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def answered(self, more: int, timeout_s: float = 120) -> bool:
        """Wait until this many more requests have ended."""
        goal = self.outcomes.total() + more
        with self._changed:
            return self._changed.wait_for(lambda: self.outcomes.total() >= goal, timeout_s)

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        while not self._stop.is_set():
            outcome, answer = self._once(connection)
            with self._changed:
                self.outcomes[outcome] += 1
                self.versions[answer.get("model", {}).get("version", "none")] += 1
                self._changed.notify_all()
        connection.close()

    def _once(self, connection: http.client.HTTPConnection) -> tuple[str, dict[str, Any]]:
        try:
            connection.request("POST", "/segment", self.image, {"Content-Type": "image/png"})
            response = connection.getresponse()
            outcome = str(response.status), json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__, {}
        if not self.keep_alive:
            connection.close()
        return outcome
