"""Calls to a real Triton server, and what is seen of it and of the shared memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc

from service.backends.base import CallContext
from service.backends.shared_memory import FOLDER, PREFIX
from service.backends.triton import TritonBackend
from service.domain import Deadline
from tests.triton_server.server import TritonServer

Open = Callable[..., TritonBackend]
Start = Callable[..., TritonServer]


def context(seconds: float = 20.0) -> CallContext:
    return CallContext("contract", Deadline.after(seconds))


def lever(value: int) -> npt.NDArray[np.uint8]:
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[0, 0, 0, 0] = value
    return images


def registered(server: TritonServer) -> set[str]:
    with tritonclient.grpc.InferenceServerClient(server.address) as client:
        return set(client.get_system_shared_memory_status().regions)


def files() -> set[str]:
    return {path.name for path in FOLDER.glob(f"{PREFIX}*")}


async def becomes(wanted: Any, read: Callable[[], Any], *, within_s: float) -> None:
    give_up = time.monotonic() + within_s
    while (now := await asyncio.to_thread(read)) != wanted:
        assert time.monotonic() < give_up, f"still {now!r}, not {wanted!r}"
        await asyncio.sleep(0.05)


async def working(server: TritonServer) -> None:
    """Wait until the server computes: a call takes its processor time, waiting takes none."""
    before = server.processor_s()
    async with asyncio.timeout(10.0):
        while server.processor_s() < before + 0.05:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.005)


async def restarted(server: TritonServer) -> None:
    # Launched from this thread: the kernel ends the server with the thread that started it.
    server.launch()
    await asyncio.to_thread(server.wait_until_ready)


async def seconds_until(error: type[Exception], call: Any) -> float:
    start = time.monotonic()
    with pytest.raises(error):
        await call
    return time.monotonic() - start
