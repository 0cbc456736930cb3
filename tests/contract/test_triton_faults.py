"""What can go wrong with a Triton server and with a call, done to a real one."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from service.errors import BackendFailed, BackendUnavailable, DeadlineExceeded
from tests.contract.calls import (
    Open,
    context,
    lever,
    restarted,
    seconds_until,
    working,
)
from tests.triton_server.server import TritonServer

pytestmark = pytest.mark.triton


async def test_a_server_that_is_down_is_unavailable_after_the_wait(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=0.3, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")
    mortal.kill()
    assert not await backend.ready()
    assert await seconds_until(BackendUnavailable, backend.infer(lever(0), model, context())) < 1.0


async def test_a_deadline_before_the_wait_is_over_is_a_deadline(
    mortal: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(mortal.address, wait_s=5.0)
    await backend.start()
    model = await backend.model("plain")
    mortal.kill()
    assert await seconds_until(DeadlineExceeded, backend.infer(lever(0), model, context(0.3))) < 1.0


async def test_a_backend_may_start_before_its_server(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    mortal.kill()
    backend = open_triton(mortal.address, wait_s=0.2, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    assert not await backend.ready()
    with pytest.raises(BackendUnavailable):
        await backend.models()
    await restarted(mortal)
    assert await backend.ready()
    outputs = await backend.infer(lever(0), await backend.model("plain"), context())
    assert outputs.tensors["embedding"].shape == (1, 8, 16, 16)


async def test_a_call_whose_server_is_killed_is_answered_before_its_deadline(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=0.3, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    call = asyncio.create_task(
        backend.infer(lever(100), await backend.model("slow"), context(10.0))
    )
    await working(mortal)
    mortal.kill()
    assert await seconds_until(BackendUnavailable, call) < 2.0


async def test_a_call_whose_server_is_restarted_is_answered_by_the_new_one(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=20.0, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    call = asyncio.create_task(backend.infer(lever(3), await backend.model("slow"), context(20.0)))
    await working(mortal)
    mortal.kill()
    await restarted(mortal)
    outputs = await call
    assert outputs.tensors["embedding"].shape == (1, 8, 16, 16)


async def test_the_first_call_after_a_restart_is_answered_at_once(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")
    await backend.infer(lever(0), model, context())
    mortal.kill()
    await restarted(mortal)
    start = time.monotonic()
    await backend.infer(lever(0), model, context())
    assert time.monotonic() - start < 0.5 + 0.5  # half a second, and as much for a busy machine


async def test_a_full_queue_is_unavailable_and_says_so(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("tight")
    calls = [backend.infer(lever(2), model, context()) for _ in range(8)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BackendUnavailable)]
    served = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert refused
    assert served
    assert len(refused) + len(served) == 8
    assert {answer.detail for answer in refused} == {"the inference server's queue is full"}


async def test_time_spent_in_the_servers_queue_counts(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("tight")
    # Connection and memory region are there already, so the first call is not overtaken.
    await backend.infer(lever(0), model, context())
    running = asyncio.create_task(backend.infer(lever(16), model, context()))
    await working(triton)
    assert await seconds_until(DeadlineExceeded, backend.infer(lever(0), model, context(0.3))) < 1.0
    await running


async def test_a_batch_larger_than_the_model_takes_is_a_failure(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    with pytest.raises(BackendFailed):
        await backend.infer(
            np.zeros((5, 16, 16, 3), np.uint8), await backend.model("plain"), context()
        )
