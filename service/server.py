"""The HTTP server: uvicorn, with a way out that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.gateway import Gateway
from service.settings import Settings

_LOG = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """On the first SIGTERM or SIGINT: not ready, refuse new work, finish what is in flight, leave.

    A second signal leaves at once.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say where once the gateway is ready."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; leave at once when that has begun already."""
        if self._loop is None or self._gateway.lifecycle.draining:
            super().handle_exit(sig, frame)
            return
        self._gateway.lifecycle.drain()
        self._loop.call_soon_threadsafe(self._start_draining)

    def _start_draining(self) -> None:
        self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        gate = self._gateway.segmenter.gate
        _LOG.info("draining: %d requests in flight, %d waiting", gate.in_flight, gate.depth)
        try:
            async with asyncio.timeout(self._gateway.settings.drain_s):
                await gate.idle()
        except TimeoutError:
            _LOG.warning("drain time is over with %d requests in flight", gate.in_flight)
        self.should_exit = True


def create_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """Return a server for `app`, not yet running."""
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=65,  # longer than common load balancers keep theirs
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    return DrainingServer(config, app.state.gateway)
