"""The queue that export asks a real server for: who goes first, and who shares a call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf import text_format

from service.backends.base import CallContext
from service.backends.triton import TritonBackend
from service.domain import Category, Deadline, Priority
from service.recipe import Recipe
from tests.contract.calls import working
from tests.contract.networks import EMBEDDING_SIZE, network
from tests.triton_server.server import TritonServer
from training.deployment.server_config import configure, read_config, write_config

pytestmark = pytest.mark.triton

Open = Callable[..., TritonBackend]
CHANNELS = {"embedding": EMBEDDING_SIZE, "foreground": 1}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, start_triton: Callable[..., TritonServer]
) -> TritonServer:
    """A server on a configuration written as export writes it."""
    repository = tmp_path_factory.mktemp("queue")
    data = network("slow")
    recipe = Recipe(
        method="discriminative",
        embedding_size=EMBEDDING_SIZE,
        classes=(Category(1, "blob"),),
        size_multiple=2,
        network_sha256=hashlib.sha256(data).hexdigest(),
    )
    for name in ("first", "joined", "batch"):  # one for every test that counts
        folder = repository / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.onnx").write_bytes(data)
        (folder / "config.pbtxt").write_text(write_config(name, recipe, CHANNELS))
        spare_the_lever(folder)
    one_at_a_time(repository / "first")
    return start_triton(repository)


def spare_the_lever(folder: Path) -> None:
    """Leave warm-up out: a random first pixel would make this network take seconds."""
    config = read_config(folder)
    del config.model_warmup[:]
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))


def one_at_a_time(folder: Path) -> None:
    """Let no two calls share a run: of those that did, either may be answered first."""
    config = read_config(folder)
    config.max_batch_size = 1
    del config.dynamic_batching.preferred_batch_size[:]
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))


def lever(value: int, *, count: int = 1) -> npt.NDArray[np.uint8]:
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[0, 0, 0, 0] = value
    return images


def context(priority: Priority = Priority.INTERACTIVE) -> CallContext:
    return CallContext("queue", Deadline.after(30.0), priority=priority)


async def executions(server: TritonServer, model: str, *, images: int) -> float:
    """Return in how many runs a model answered so many images; the server counts after it."""
    labels = f'{{model="{model}",version="1"}}'
    async with asyncio.timeout(10.0):
        while (seen := server.metrics()).get(f"nv_inference_count{labels}") != images:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.01)
    return seen[f"nv_inference_exec_count{labels}"]


async def pending(server: TritonServer, model: str, count: int) -> None:
    """Wait until so many calls wait in the server's queue."""
    key = f'nv_inference_pending_request_count{{model="{model}",version="1"}}'
    async with asyncio.timeout(10.0):
        while server.metrics().get(key, 0) < count:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.01)


async def test_what_somebody_waits_for_overtakes_what_nobody_does(
    server: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(server.address)
    await backend.start()
    model = await backend.model("first")
    done: list[str] = []

    async def call(name: str, units: int, priority: Priority) -> None:
        await backend.infer(lever(units), model, context(priority))
        done.append(name)

    calls = [asyncio.create_task(call("running", 20, Priority.BACKGROUND))]
    await working(server)
    calls += [asyncio.create_task(call("job", 1, Priority.BACKGROUND)) for _ in range(2)]
    await pending(server, "first", 2)
    calls.append(asyncio.create_task(call("interactive", 1, Priority.INTERACTIVE)))
    await pending(server, "first", 3)
    assert not done
    await asyncio.gather(*calls)
    assert done == ["running", "interactive", "job", "job"]


async def test_requests_that_wait_are_answered_together(
    server: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(server.address)
    await backend.start()
    model = await backend.model("joined")
    first = asyncio.create_task(backend.infer(lever(10), model, context()))
    await working(server)
    others = [asyncio.create_task(backend.infer(lever(0), model, context())) for _ in range(5)]
    await asyncio.gather(first, *others)
    assert await executions(server, "joined", images=6) == 2


async def test_images_of_one_request_are_one_execution(
    server: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(server.address)
    await backend.start()
    await backend.infer(lever(0, count=8), await backend.model("batch"), context())
    assert await executions(server, "batch", images=8) == 1


async def test_the_gateway_learns_the_buckets_that_a_model_is_given(
    tmp_path: Path,
    server: TritonServer,
    start_triton: Callable[..., TritonServer],
    open_triton: Open,
) -> None:
    folder = tmp_path / "first"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(network("slow"))
    source = server.repository / "first" / "config.pbtxt"
    (folder / "config.pbtxt").write_text(source.read_text())
    configure(folder, buckets=(32, 64))
    spare_the_lever(folder)
    backend = open_triton(start_triton(tmp_path).address)
    await backend.start()
    assert (await backend.model("first")).recipe.size_buckets == (32, 64)
