"""A backend that keeps its answers to itself holds no request beyond its deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from service.backends.base import CallContext, Model, Outputs
from service.domain import Category, Deadline, ImageLimits
from service.errors import DeadlineExceeded
from service.pipeline import Segmenter
from service.recipe import Recipe
from service.request import Asked
from service.telemetry.metrics import Metrics
from service.workers import Gate, Workers


class SilentBackend:
    """A server that takes calls and never answers, as one does while it loads its models."""

    async def start(self) -> None:
        pass

    async def models(self) -> Sequence[Model]:
        return []

    async def model(self, name: str, version: str | None = None) -> Model:
        return await asyncio.Future()

    async def ready(self) -> bool:
        return False

    async def infer(
        self, images: npt.NDArray[np.uint8], model: Model, context: CallContext
    ) -> Outputs:
        raise AssertionError

    async def aclose(self) -> None:
        pass


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(1)
    yield workers
    workers.close()


@pytest.fixture
def segmenter(workers: Workers) -> Segmenter:
    gate = Gate(slots=1, waiting=0)
    return Segmenter(SilentBackend(), workers, gate, Metrics(), ImageLimits())


async def test_a_server_that_does_not_say_what_it_serves_is_waited_for_until_the_deadline(
    segmenter: Segmenter,
) -> None:
    asked = Asked(request_id="r", deadline=Deadline.after(0.05), model="nuclei")
    with pytest.raises(DeadlineExceeded) as caught:
        await segmenter.segment(b"", asked, lambda _: b"")
    assert caught.value.stage == "queue"


async def test_work_that_no_thread_is_free_for_names_the_stage_it_would_have_been(
    workers: Workers, segmenter: Segmenter
) -> None:
    done = threading.Event()
    busy = asyncio.ensure_future(workers.run(Deadline.after(10), done.wait, 10))
    await asyncio.sleep(0)  # now it is the first that the thread is given
    asked = Asked(request_id="r", deadline=Deadline.after(0.05), model="nuclei")
    recipe = Recipe(
        method="discriminative",
        embedding_size=1,
        classes=(Category(1, "nucleus"),),
        size_multiple=1,
        decoder={"bandwidth": 1.0},
    )
    with pytest.raises(DeadlineExceeded) as caught:
        await segmenter.decode(b"", Model("nuclei", "1", recipe), asked)
    done.set()
    await busy
    assert caught.value.stage == "decode"
