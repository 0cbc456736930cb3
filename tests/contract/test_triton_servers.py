"""Several Triton servers: calls are shared, and one that fails is made up for."""

from __future__ import annotations

import asyncio

import pytest

from tests.contract.calls import (
    Open,
    Start,
    context,
    lever,
    working,
)
from tests.contract.networks import TIGHT_QUEUE, write_model
from tests.triton_server.server import TritonServer

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, start_triton: Start) -> list[TritonServer]:
    repository = tmp_path_factory.mktemp("twins")
    for name, kind, extra in (("plain", "plain", ""), ("tight", "slow", TIGHT_QUEUE)):
        write_model(repository, name, kind, extra=extra)
    return [start_triton(repository), start_triton(repository)]


def successes(server: TritonServer) -> float:
    return server.metrics()['nv_inference_request_success{model="plain",version="1"}']


@pytest.mark.parametrize("form", ["{0} {1}", "ipv4:{0},{1}"], ids=["two names", "one name"])
async def test_calls_are_spread_evenly_over_all_addresses(
    twins: list[TritonServer], open_triton: Open, form: str
) -> None:
    backend = open_triton(*form.format(*(twin.address for twin in twins)).split())
    await backend.start()
    model = await backend.model("plain")
    fresh = [successes(twin) for twin in twins]
    async with asyncio.timeout(20.0):  # until the channel has reached both
        while any(successes(t) == s for t, s in zip(twins, fresh, strict=True)):
            await backend.infer(lever(0), model, context())
    before = [successes(twin) for twin in twins]
    for _ in range(20):
        await backend.infer(lever(0), model, context())
    assert [successes(t) - b for t, b in zip(twins, before, strict=True)] == pytest.approx(
        [10, 10], abs=2
    )


async def test_a_full_queue_at_one_server_is_tried_at_the_other(
    twins: list[TritonServer], open_triton: Open
) -> None:
    one = open_triton(twins[0].address)
    both = open_triton(*(twin.address for twin in twins))
    await one.start()
    await both.start()
    model = await both.model("tight")
    fill = [asyncio.create_task(one.infer(lever(5), model, context())) for _ in range(4)]
    await working(twins[0])
    answers = [await both.infer(lever(0), model, context()) for _ in range(4)]
    assert len(answers) == 4
    await asyncio.gather(*fill, return_exceptions=True)


async def test_no_call_fails_when_one_of_two_servers_is_killed(
    mortal: TritonServer, twins: list[TritonServer], open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, twins[0].address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")

    async def caller() -> int:
        answers = [await backend.infer(lever(0), model, context()) for _ in range(15)]
        return len(answers)

    callers = [asyncio.create_task(caller()) for _ in range(3)]
    await asyncio.sleep(0.05)
    mortal.kill()
    assert await asyncio.gather(*callers) == [15, 15, 15]
