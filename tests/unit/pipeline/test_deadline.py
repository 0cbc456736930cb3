"""A backend that keeps its answers to itself holds no request beyond its deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from service.backends.base import CallContext, Model, Outputs
from service.domain import Deadline, ImageLimits
from service.errors import DeadlineExceeded
from service.pipeline import Segmenter
from service.request import Job
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


async def test_a_server_that_does_not_say_what_it_serves_is_waited_for_until_the_deadline() -> None:
    workers = Workers(1)
    gate = Gate(slots=1, waiting=0)
    segmenter = Segmenter(SilentBackend(), workers, gate, Metrics(), ImageLimits())
    job = Job(request_id="r", deadline=Deadline.after(0.05), model="nuclei")
    with pytest.raises(DeadlineExceeded) as caught:
        await segmenter.segment(b"", job, lambda _: b"")
    workers.close()
    assert caught.value.stage == "queue"
