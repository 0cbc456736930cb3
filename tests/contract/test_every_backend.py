"""What the pipeline may rely on, whichever backend it talks to."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from service.backends.base import Backend, CallContext
from service.domain import Deadline
from service.errors import BackendFailed, BackendUnavailable, DeadlineExceeded, ModelNotFound


def context(seconds: float = 20.0) -> CallContext:
    return CallContext("contract", Deadline.after(seconds))


def noise(seed: int, *, count: int = 1, height: int = 24, width: int = 32) -> Any:
    images = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    images[:, 0, 0, 0] = 0
    return images


def lever(value: int) -> npt.NDArray[np.uint8]:
    images = np.zeros((1, 8, 8, 3), np.uint8)
    images[0, 0, 0, 0] = value
    return images


@pytest.fixture(scope="module")
def oracle(repository: Path) -> Any:
    path = repository / "plain" / "1" / "model.onnx"
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


async def test_every_model_is_listed_once(backend: Backend) -> None:
    models = await backend.models()
    assert [(model.name, model.version) for model in models] == [
        ("fail", "1"),
        ("half", "1"),
        ("plain", "1"),
        ("slow", "1"),
        ("tight", "1"),
    ]


async def test_a_model_carries_its_recipe_and_batch_limit(backend: Backend) -> None:
    model = await backend.model("plain")
    assert (model.version, model.max_batch) == ("1", 4)
    assert (model.recipe.embedding_size, model.recipe.size_multiple) == (8, 2)


@pytest.mark.parametrize(("name", "version"), [("nobody", None), ("plain", "7"), ("nobody", "1")])
async def test_a_model_that_is_not_there_is_not_found(
    backend: Backend, name: str, version: str | None
) -> None:
    with pytest.raises(ModelNotFound):
        await backend.model(name, version)


@pytest.mark.parametrize("count", [1, 3, 4])
async def test_outputs_are_those_of_the_network_bit_for_bit(
    backend: Backend, oracle: Any, count: int
) -> None:
    images = noise(count, count=count)
    outputs = await backend.infer(images, await backend.model("plain"), context())
    embedding, foreground = oracle.run(["embedding", "foreground"], {"image": images})
    np.testing.assert_array_equal(outputs.tensors["embedding"], embedding)
    np.testing.assert_array_equal(outputs.tensors["foreground"], foreground)


async def test_outputs_have_the_types_and_shapes_of_the_signature(backend: Backend) -> None:
    outputs = await backend.infer(noise(1), await backend.model("plain"), context())
    described = {name: (a.dtype.name, a.shape) for name, a in outputs.tensors.items()}
    assert described == {
        "embedding": ("float16", (1, 8, 24, 32)),
        "foreground": ("float16", (1, 1, 24, 32)),
    }


async def test_an_image_that_is_not_contiguous_is_read_as_it_looks(
    backend: Backend, oracle: Any
) -> None:
    images = noise(5)[:, ::-1, ::2]
    outputs = await backend.infer(images, await backend.model("plain"), context())
    [embedding] = oracle.run(["embedding"], {"image": np.ascontiguousarray(images)})
    np.testing.assert_array_equal(outputs.tensors["embedding"], embedding)


async def test_an_answer_of_many_mebibytes_arrives_whole(backend: Backend, oracle: Any) -> None:
    images = noise(2, height=1024, width=1024)
    outputs = await backend.infer(images, await backend.model("plain"), context())
    [embedding] = oracle.run(["embedding"], {"image": images})
    np.testing.assert_array_equal(outputs.tensors["embedding"], embedding)


async def test_concurrent_calls_never_see_each_others_tensors(
    backend: Backend, oracle: Any
) -> None:
    model = await backend.model("plain")
    batches = [noise(seed, height=8 * (1 + seed % 3)) for seed in range(12)]
    answers = await asyncio.gather(*(backend.infer(b, model, context()) for b in batches))
    wanted = [oracle.run(["embedding"], {"image": images})[0] for images in batches]
    for answer, embedding in zip(answers, wanted, strict=True):
        np.testing.assert_array_equal(answer.tensors["embedding"], embedding)


async def test_a_view_stays_as_it_is_for_as_long_as_anybody_holds_it(
    backend: Backend, oracle: Any
) -> None:
    model = await backend.model("plain")
    view = (await backend.infer(noise(1), model, context())).tensors["embedding"][0, 2:4]
    for seed in range(5):
        await backend.infer(noise(seed), model, context())
    [embedding] = oracle.run(["embedding"], {"image": noise(1)})
    np.testing.assert_array_equal(view, embedding[0, 2:4])


async def test_outputs_of_the_wrong_size_are_a_failure_of_the_backend(backend: Backend) -> None:
    with pytest.raises(BackendFailed, match="'embedding' has shape"):
        await backend.infer(noise(1), await backend.model("half"), context())


async def test_a_network_that_fails_is_a_failure_of_the_backend(backend: Backend) -> None:
    with pytest.raises(BackendFailed):
        await backend.infer(lever(1), await backend.model("fail"), context())


async def test_a_failure_says_nothing_of_libraries_or_paths(backend: Backend) -> None:
    with pytest.raises(BackendFailed) as caught:
        await backend.infer(lever(1), await backend.model("fail"), context())
    assert not {"onnx", "/", "Gather"} & set(caught.value.detail.lower().split())
    assert "/" not in caught.value.detail


async def test_a_call_ends_at_its_deadline(backend: Backend) -> None:
    model = await backend.model("slow")
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        await backend.infer(lever(10), model, context(0.3))
    assert caught.value.stage == "inference"
    assert time.monotonic() - start < 1.0


async def test_a_cancelled_call_ends_at_once_and_harms_nobody(
    backend: Backend, oracle: Any
) -> None:
    slow = await backend.model("slow")
    call = asyncio.create_task(backend.infer(lever(5), slow, context()))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    outputs = await backend.infer(noise(3), await backend.model("plain"), context())
    [embedding] = oracle.run(["embedding"], {"image": noise(3)})
    np.testing.assert_array_equal(outputs.tensors["embedding"], embedding)


async def test_a_started_backend_is_ready(backend: Backend) -> None:
    assert await backend.ready()


async def test_a_closed_backend_is_not_ready_and_refuses_calls(backend: Backend) -> None:
    model = await backend.model("plain")
    await backend.aclose()
    await backend.aclose()
    assert not await backend.ready()
    with pytest.raises(BackendUnavailable):
        await backend.infer(noise(1), model, context())
