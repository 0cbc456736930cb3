"""What the pipeline counts of the calls of its backend, and what it passes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from prometheus_client import Metric

from service.backends.base import Backend, CallContext, Model, Outputs
from service.backends.factory import create_backend
from service.domain import Deadline, ImageLimits
from service.errors import BackendFailed, BackendUnavailable
from service.pipeline import Segmenter
from service.request import Asked
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Trace
from service.workers import Gate, Workers
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model

SCENE = png_of(draw_scene(seed=4)[0])


class TellingBackend:
    """The embedded backend; notes how it is called, and fails when told to."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.contexts: list[CallContext] = []
        self.fault: BaseException | None = None

    async def start(self) -> None:
        await self.inner.start()

    async def models(self) -> list[Model]:
        return list(await self.inner.models())

    async def model(self, name: str, version: str | None = None) -> Model:
        return await self.inner.model(name, version)

    async def ready(self) -> bool:
        return await self.inner.ready()

    async def infer(
        self, images: npt.NDArray[np.uint8], model: Model, context: CallContext
    ) -> Outputs:
        self.contexts.append(context)
        if self.fault:
            raise self.fault
        outputs = await self.inner.infer(images, model, context)
        return Outputs(outputs.tensors, bytes_in=images.nbytes, bytes_out=1000)

    async def aclose(self) -> None:
        await self.inner.aclose()


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[TellingBackend]:
    write_scenes_model(tmp_path)
    settings = Settings(model_repository=tmp_path, default_model=MODEL, inference_threads=1)
    made = TellingBackend(create_backend(settings))
    await made.start()
    yield made
    await made.aclose()


async def segment(backend: TellingBackend, metrics: Metrics, trace: Trace) -> None:
    workers = Workers(1)
    try:
        segmenter = Segmenter(backend, workers, Gate(slots=1, waiting=0), metrics, ImageLimits())
        asked = Asked(
            request_id="r", deadline=Deadline.after(60), model=MODEL, headers=trace.outgoing()
        )
        await segmenter.segment(SCENE, asked, lambda _: b"")
    finally:
        await asyncio.sleep(0)  # stages are counted once the answer is on its way
        workers.close()


def calls(metrics: Metrics) -> dict[str, float]:
    families: list[Metric] = list(metrics.backend_duration.collect())
    return {
        sample.labels["code"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name.endswith("_count")
    }


async def test_the_backend_gets_the_trace_with_a_span_of_its_own(backend: TellingBackend) -> None:
    trace = Trace.begin("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1")
    await segment(backend, Metrics(), trace)
    assert [context.headers for context in backend.contexts] == [trace.outgoing()]


async def test_a_call_counts_its_bytes_and_its_batch(backend: TellingBackend) -> None:
    metrics = Metrics()
    await segment(backend, metrics, Trace.begin())
    value = metrics.registry.get_sample_value
    assert calls(metrics) == {"ok": 1}
    assert value("backend_payload_bytes_total", {"direction": "in"}) == 96 * 120 * 3
    assert value("backend_payload_bytes_total", {"direction": "out"}) == 1000
    assert value("backend_batch_size_sum") == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (BackendFailed("x"), "backend-failed"),
        (BackendUnavailable("x"), "backend-unavailable"),
        (asyncio.CancelledError(), "cancelled"),
        (ZeroDivisionError(), "internal-error"),
    ],
)
async def test_a_call_that_fails_counts_under_its_code(
    backend: TellingBackend, fault: BaseException, code: str
) -> None:
    metrics = Metrics()
    backend.fault = fault
    with pytest.raises(type(fault)):
        await segment(backend, metrics, Trace.begin())
    assert calls(metrics) == {code: 1}


async def test_a_failed_request_still_shows_where_its_time_went(backend: TellingBackend) -> None:
    metrics = Metrics()
    backend.fault = BackendFailed("x")
    with pytest.raises(BackendFailed):
        await segment(backend, metrics, Trace.begin())
    count = metrics.registry.get_sample_value
    name = "segment_stage_duration_seconds_count"
    assert count(name, {"stage": "inference"}) == 1
    assert count(name, {"stage": "encode"}) == 0
