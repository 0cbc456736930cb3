"""What a connection may send beside bodies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from service.api.heads import MAX_HEAD_BYTES, BoundedHeads
from service.server import create_server
from service.settings import Settings
from tests.unit.gateway.calls import StartApp, until

GET, POST = b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


class Wire(asyncio.Transport):
    """The server's end of a connection, which keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        config = uvicorn.Config(read_all, http=BoundedHeads, log_config=None, ws="none")
        config.load()
        self.protocol = BoundedHeads(config=config, server_state=ServerState(), app_state={})
        self.protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d bytes" % length})


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (b"GET /", b"a" * 1024),
        (GET + b"X: ", b"a" * 1024),
        (GET, b"X: a\r\n" * 200),
        (POST + b"1\r\na\r\n0\r\n", b"X: a\r\n" * 200),
        (POST + b"1;", b"a" * 1024),
    ],
    ids=["request line", "header", "headers", "trailers", "chunk extension"],
)
async def test_what_never_ends_is_ended(begun: bytes, piece: bytes) -> None:
    wire = Wire()
    wire.protocol.data_received(begun)
    taken = 0
    while not wire.closed and taken < 2 * MAX_HEAD_BYTES:
        wire.protocol.data_received(piece)
        taken += len(piece)
    assert wire.sent.startswith(b"HTTP/1.1 400 ")
    assert MAX_HEAD_BYTES - len(begun) < taken <= MAX_HEAD_BYTES + len(piece)


async def test_small_chunks_and_many_requests_are_taken() -> None:
    wire = Wire()
    count = MAX_HEAD_BYTES // 4  # each with five bytes beside its one
    wire.protocol.data_received(POST)
    for _ in range(count):
        wire.protocol.data_received(b"1\r\na\r\n")
    wire.protocol.data_received(b"0\r\n\r\n")
    await until(lambda: b"%d bytes" % count in wire.sent)
    for _ in range(100):
        wire.sent = b""
        wire.protocol.data_received(GET + b"X: " + b"a" * 1024 + b"\r\n\r\n")
        await until(lambda: b"0 bytes" in wire.sent)
    assert not wire.closed
    wire.protocol.connection_lost(None)


async def test_the_server_bounds_heads(start_app: StartApp) -> None:
    server = create_server(await start_app(), Settings(), on_ready=print)
    assert server.config.http is BoundedHeads
