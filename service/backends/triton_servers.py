"""Channels to one or more Triton servers: who is ready, whose turn it is, and when to try again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from service.backends.triton_errors import (
    is_worth_another_server,
    is_worth_same_server,
    translate,
)
from service.backends.triton_wire import INFER_METHOD
from service.domain import Deadline
from service.errors import BackendUnavailable, DeadlineExceeded

T = TypeVar("T")

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # Naming any option drops tritonclient's defaults, and gRPC's own stops at 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A restarted server is found again at once; gRPC's default waits up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 200),
    # In spite of its name the time that one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    # A server that vanished without a word is noticed. Pings only while calls run: Triton drops
    # clients that ping an idle connection.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # A name with several addresses (a headless service) is one channel to all of them.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Two backends in one process share neither connections nor their back-off.
    ("grpc.use_local_subchannel_pool", 1),
)
CONTROL_TIMEOUT_S: Final = 5.0
PROBE_TIMEOUT_S: Final = 1.0


@dataclass(slots=True, eq=False)
class Server:
    """One address and what is open towards it.

    Parameters
    ----------
    address : str
        As configured, ``host:port``.
    channel, stub, infer : object
        gRPC's channel, Triton's calls, and the inference call on raw bytes.
    regions : set of str
        Shared memory regions that it has been told of.
    shares_memory : bool, optional
        Whether it sees this host's shared memory; None before it was tried.
    calls : int
        Calls that it has not answered yet.
    """

    address: str
    channel: Any
    stub: Any
    infer: Any
    regions: set[str] = field(default_factory=set)
    shares_memory: bool | None = None
    calls: int = 0

    def is_connected(self) -> bool:
        """Return whether there is a connection now; begin one otherwise."""
        state = self.channel.get_state(try_to_connect=True)
        return bool(state is grpc.ChannelConnectivity.READY)

    def forget_memory(self) -> None:
        """Tell the server of every region again: it may be a new one, which sees what is here."""
        self.regions.clear()
        self.shares_memory = self.shares_memory or None

    async def until_live(self, timeout_s: float) -> Server:
        """Wait until the server answers, and return it."""
        await self.stub.ServerLive(
            service_pb2.ServerLiveRequest(), timeout=timeout_s, wait_for_ready=True
        )
        return self


class Servers:
    """The servers, of which the least busy is called.

    Parameters
    ----------
    addresses : sequence of str
        ``host:port`` of each; a name may stand for several addresses.
    wait_s : float
        How long a call waits for a server when none is connected.
    """

    def __init__(self, addresses: Sequence[str], *, wait_s: float) -> None:
        self._addresses = [address.strip() for address in addresses]
        self._wait_s = wait_s
        self._turn = 0
        self.all: tuple[Server, ...] = ()

    def open(self) -> None:
        """Open the channels; needs the event loop that will use them."""
        self.all = tuple(_open(address) for address in self._addresses)

    async def aclose(self) -> None:
        """Close the channels and cancel what runs on them."""
        servers, self.all = self.all, ()
        for server in servers:
            await server.channel.close()

    def connected(self, *, but: Server | None = None) -> Server | None:
        """Return the connected server with the fewest calls, the next in turn of several.

        So one that hangs is not given more and more of them until all who ask wait for it.
        """
        self._turn += 1
        order = [self.all[(self._turn + i) % len(self.all)] for i in range(len(self.all))]
        # Every one is asked, so that every one that is not connected begins to connect.
        ready = [server for server in order if server.is_connected() and server is not but]
        return min(ready, key=lambda server: server.calls, default=None)

    async def pick(self, deadline: Deadline, *, but: Server | None = None) -> Server:
        """Return a server to call, waiting for one when none is connected.

        Parameters
        ----------
        deadline : Deadline
            Waiting ends with it.
        but : Server, optional
            One that has just failed: taken only when there is no other, and only once it answers.

        Raises
        ------
        BackendUnavailable
            If no server answers in time.
        DeadlineExceeded
            If the deadline comes first.
        """
        if not self.all:
            raise BackendUnavailable("the connection to the inference server is closed")
        server = self.connected(but=but)
        if server is not None:
            return server
        left_s = deadline.left_s()
        waiting = [
            asyncio.create_task(server.until_live(max(0.0, min(left_s, self._wait_s))))
            for server in self.all
        ]
        try:
            for first in asyncio.as_completed(waiting):
                try:
                    return await first
                except grpc.aio.AioRpcError as error:
                    cause = error
        finally:
            for task in waiting:
                task.cancel()
        if left_s <= self._wait_s:
            raise DeadlineExceeded(
                f"no inference server answered within {deadline.allowed_s:g} s", stage="inference"
            ) from cause
        raise BackendUnavailable("no inference server answers") from cause

    async def call(self, deadline: Deadline, run: Callable[[Server], Awaitable[T]]) -> T:
        """Run something at one server, and once more when that one turns out not to be there.

        Parameters
        ----------
        deadline : Deadline
            For both attempts together.
        run : callable
            The call; a gRPC error that it raises is translated.

        Raises
        ------
        BackendUnavailable, BackendFailed, DeadlineExceeded, ModelNotFound
            The complete list.
        """
        server = await self.pick(deadline)
        try:
            return await _counted(run, server)
        except grpc.aio.AioRpcError as error:
            again = is_worth_another_server if len(self.all) > 1 else is_worth_same_server
            if not again(error):
                raise translate(error, deadline) from error
            if is_worth_same_server(error):
                server.forget_memory()
        server = await self.pick(deadline, but=server)
        try:
            return await _counted(run, server)
        except grpc.aio.AioRpcError as error:
            raise translate(error, deadline) from error


async def _counted(run: Callable[[Server], Awaitable[T]], server: Server) -> T:
    server.calls += 1
    try:
        return await run(server)
    finally:
        server.calls -= 1


def _open(address: str) -> Server:
    channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return Server(
        address,
        channel,
        service_pb2_grpc.GRPCInferenceServiceStub(channel),
        channel.unary_unary(INFER_METHOD),
    )
