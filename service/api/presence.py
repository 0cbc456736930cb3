"""Work for someone who is still there: when the client hangs up, its work ends too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.errors import ClientGone

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, unless the client goes away first.

    Parameters
    ----------
    request : Request
        Its body has been read, or is not wanted.
    work : coroutine
        Is cancelled, and has ended, before this function raises.

    Raises
    ------
    ClientGone
        If the client hung up.
    """
    presence = asyncio.timeout(None)  # over when the client is gone
    watching = asyncio.create_task(_watch(request, presence))
    try:
        async with presence:
            return await work
    except TimeoutError as error:
        if presence.expired():
            raise ClientGone("the client hung up before its answer was there") from error
        raise
    finally:
        watching.cancel()


async def _watch(request: Request, presence: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    presence.reschedule(asyncio.get_running_loop().time())
