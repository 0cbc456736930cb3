"""Whose turn it is among several servers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import grpc

from service.backends.triton_servers import Server, Servers
from service.domain import Deadline


def connected(address: str) -> Server:
    def state(**_: bool) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.READY

    return Server(address, SimpleNamespace(get_state=state), stub=None, infer=None)


async def test_a_server_that_hangs_gets_one_call_while_the_other_answers() -> None:
    servers = Servers(["hangs", "answers"], wait_s=1.0)
    servers.all = (connected("hangs"), connected("answers"))

    async def run(server: Server) -> str:
        if server.address == "hangs":
            await asyncio.Event().wait()
        return server.address

    calls = [asyncio.create_task(servers.call(Deadline.after(60), run)) for _ in range(2)]
    done, hanging = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert [call.result() for call in done] == ["answers"]
    async with asyncio.timeout(10):
        again = [await servers.call(Deadline.after(60), run) for _ in range(6)]
    assert again == ["answers"] * 6
    for call in hanging:
        call.cancel()
    await asyncio.wait(hanging)
    assert [server.calls for server in servers.all] == [0, 0]
