"""The HTTP server: uvicorn, with a way out that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.api.heads import BoundedHeads
from service.domain import Deadline
from service.gateway import Gateway
from service.settings import Settings

_LOG = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """On the first SIGTERM or SIGINT: not ready; refuse new work; finish what is in flight; leave.

    For a notice after the signal all is still served, each answer the last of its connection, so
    that clients who keep theirs go elsewhere with the next request. What is idle by the end of the
    notice is closed, lest it be used again and refused. A second signal leaves at once.
    """

    def __init__(
        self, config: uvicorn.Config, gateway: Gateway, on_ready: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []  # the loop itself keeps only weak references

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where once the gateway is ready."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if not self.should_exit:
            self._tasks.append(asyncio.create_task(self._announce()))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; leave at once when that has begun already."""
        if self._loop is None or self._gateway.lifecycle.draining:
            self.config.timeout_graceful_shutdown = 0  # without one uvicorn waits for all
            self.force_exit = self.should_exit  # it is waiting already
            super().handle_exit(sig, frame)
            return
        self._gateway.lifecycle.drain()
        self._loop.call_soon_threadsafe(self._start_draining)

    def _start_draining(self) -> None:
        self._tasks.append(asyncio.create_task(self._drain()))

    async def _announce(self) -> None:
        lifecycle = self._gateway.lifecycle
        await lifecycle.started.wait()
        if lifecycle.failed:
            self.should_exit = True
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        self._on_ready(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    async def _drain(self) -> None:
        gate, settings = self._gateway.gate, self._gateway.settings
        await asyncio.sleep(settings.drain_notice_s)
        self._gateway.lifecycle.refuse()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # one that is busy is closed after its answer
        _LOG.info("draining: %d requests in flight, %d waiting", gate.in_flight, gate.depth)
        until = Deadline.after(settings.drain_s)
        try:
            async with asyncio.timeout(until.left_s()):
                await gate.idle()
        except TimeoutError:
            _LOG.warning("drain time is over with %d requests in flight", gate.in_flight)
        # What is left is for requests still arriving and for answers still being sent.
        self.config.timeout_graceful_shutdown = max(1, round(until.left_s()))
        self.should_exit = True


def create_server(
    app: FastAPI, settings: Settings, *, on_ready: Callable[[str], None]
) -> DrainingServer:
    """Return a server for `app`, not yet running.

    Parameters
    ----------
    app : FastAPI
        From `service.app.create_app`.
    settings : Settings
        Where to listen, how long to drain.
    on_ready : callable
        Called once with the server's address, when requests will be answered.
    """
    # Probes and refusals wait behind the Python of other threads: a fifth of the usual time.
    sys.setswitchinterval(0.001)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=BoundedHeads,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=65,  # longer than common load balancers keep theirs
    )
    return DrainingServer(config, app.state.gateway, on_ready)
