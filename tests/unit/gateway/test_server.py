"""How the process ends: by the first signal in order, by the second at once."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import Any, cast

import uvicorn

from service.gateway import Gateway
from service.server import DrainingServer
from tests.unit.gateway.calls import until


async def test_a_second_signal_cuts_off_what_is_in_flight() -> None:
    begun, for_ever = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await for_ever.wait()

    lifecycle = SimpleNamespace(draining=False, started=asyncio.Event(), failed=None)
    lifecycle.drain = lambda: setattr(lifecycle, "draining", True)
    lifecycle.refuse = lifecycle.drain
    gate = SimpleNamespace(in_flight=1, depth=0, idle=for_ever.wait)
    gateway = SimpleNamespace(
        lifecycle=lifecycle,
        segmenter=SimpleNamespace(gate=gate),
        settings=SimpleNamespace(drain_notice_s=0.0, drain_s=600.0),
    )
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, ws="none")
    server = DrainingServer(config, cast(Gateway, gateway), print)
    serving = asyncio.create_task(server._serve())  # `serve` would take the signals
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    async with asyncio.timeout(30):
        await begun.wait()
        server.handle_exit(signal.SIGTERM, None)
        server.handle_exit(signal.SIGTERM, None)
        await serving
    writer.close()
