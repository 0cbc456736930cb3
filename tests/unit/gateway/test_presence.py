"""Work goes on for as long as its client is there, and ends with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import Request

from service.api.presence import while_connected
from service.errors import ClientGone


def request_of(gone: asyncio.Event) -> Request:
    """Give a request whose client hangs up when the event is set."""

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


async def test_the_work_of_a_client_who_stays_is_answered() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await while_connected(request_of(asyncio.Event()), work()) == 7


async def test_the_work_of_a_client_who_hangs_up_has_ended_when_that_is_said() -> None:
    gone, ended = asyncio.Event(), False

    async def work() -> None:
        nonlocal ended
        gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    with pytest.raises(ClientGone):
        await while_connected(request_of(gone), work())
    assert ended


async def test_a_timeout_of_the_work_is_its_own() -> None:
    async def work() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await while_connected(request_of(asyncio.Event()), work())


async def test_being_cancelled_is_not_taken_for_a_client_who_left() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(while_connected(request_of(asyncio.Event()), work()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
