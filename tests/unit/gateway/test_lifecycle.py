"""When the gateway says that it is ready, and why it says that it is not."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service import lifecycle
from service.backends.base import CallContext, Model, Outputs
from service.backends.embedded import EmbeddedBackend
from service.domain import ImageLimits
from service.errors import (
    ArtefactError,
    BackendFailed,
    BackendUnavailable,
    DeadlineExceeded,
    DiscernError,
    OutOfMemory,
)
from service.lifecycle import Lifecycle
from service.masks.rle import encode_labels
from service.pipeline import Segmenter
from service.recipe import Golden
from service.telemetry.metrics import Metrics
from service.workers import Gate, Workers
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model

IMAGE, LABELS = draw_scene(seed=4)
OBJECTS = int(LABELS.max())


def golden(labels: Any, image: bytes | None = None) -> Golden:
    masks = [{"area": 0, "segmentation": rle} for rle in encode_labels(labels)]
    return Golden(base64.b64encode(image or png_of(IMAGE)).decode(), masks)


class Moody(EmbeddedBackend):
    """The embedded backend, which is away at first, or whose models carry a golden image."""

    is_away = False
    broken: str | None = None
    is_ready = True
    golden: Golden | None = None
    wrong_version = ""

    async def start(self) -> None:
        if self.is_away:
            raise BackendUnavailable("nobody there")
        if self.broken:
            raise ArtefactError(self.broken)
        await super().start()

    async def ready(self) -> bool:
        return self.is_ready

    async def models(self) -> list[Model]:
        return [
            replace(model, recipe=replace(model.recipe, golden=self._golden(model)))
            for model in await super().models()
        ]

    def _golden(self, model: Model) -> Golden | None:
        return golden(np.zeros_like(LABELS)) if model.version == self.wrong_version else self.golden


class Faltering(Moody):
    """One that fails once, when it is asked for the golden answer."""

    fault: DiscernError | None = None

    async def infer(self, images: Any, model: Model, context: CallContext) -> Outputs:
        fault, self.fault = self.fault, None
        if fault:
            raise fault
        return await super().infer(images, model, context)


class Clinging(Moody):
    """One that is not there when it is to unload for the first time."""

    refusals = 1

    async def unload(self, name: str) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise BackendUnavailable("nobody there")
        await super().unload(name)


class Untold(Moody):
    """One that cannot be told what to load."""

    load = None  # type: ignore[assignment]


Make = Callable[..., tuple[Lifecycle, Moody]]


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    monkeypatch.setattr(lifecycle, "RETRY_S", 0.0)
    write_scenes_model(tmp_path)
    workers, backends = Workers(1), []

    def made(
        kind: type[Moody] = Moody, default_model: str = MODEL, **moods: Any
    ) -> tuple[Lifecycle, Moody]:
        backend = kind(tmp_path, threads=1, calls=1)
        for name, value in moods.items():
            setattr(backend, name, value)
        backends.append(backend)
        metrics = Metrics()
        segmenter = Segmenter(backend, workers, Gate(slots=1, waiting=0), metrics, ImageLimits())
        return Lifecycle(segmenter, workers, metrics, default_model=default_model), backend

    yield made
    workers.close()
    for backend in backends:
        await backend.aclose()


async def reasons(started: Lifecycle) -> tuple[str, ...]:
    readiness = await started.readiness()
    assert readiness.ready == (not readiness.reasons)
    return readiness.reasons


async def test_it_is_starting_then_ready_then_draining(make: Make) -> None:
    gateway, backend = make()
    assert await reasons(gateway) == ("starting",)
    await gateway.start()
    assert await reasons(gateway) == ()
    assert gateway.model_names == {MODEL}
    backend.is_ready = False
    assert await reasons(gateway) == ("the inference server is not ready",)
    gateway.drain()
    assert await reasons(gateway) == ("draining",)
    assert not gateway.refusing
    gateway.refuse()
    assert gateway.refusing


async def test_a_backend_that_is_away_is_waited_for(make: Make) -> None:
    gateway, backend = make(is_away=True)
    starting = asyncio.create_task(gateway.start())
    async with asyncio.timeout(60.0):
        while await reasons(gateway) == ("starting",):  # noqa: ASYNC110 - readiness is polled
            await asyncio.sleep(0)
        assert await reasons(gateway) == ("nobody there",)
        backend.is_away = False
        await starting
    assert await reasons(gateway) == ()


async def test_one_command_does_not_wait_for_a_backend_that_is_away(make: Make) -> None:
    gateway, _ = make(is_away=True)
    await gateway.start(patient=False)
    assert await reasons(gateway) == ("nobody there",)


@pytest.mark.parametrize(
    "fault",
    [
        BackendUnavailable("the inference server's queue is full"),
        DeadlineExceeded("no answer within 60 s", stage="inference"),
        OutOfMemory(),
    ],
    ids=["busy", "slow", "memory"],
)
async def test_a_golden_image_that_was_not_answered_in_time_is_asked_for_again(
    make: Make, fault: DiscernError
) -> None:
    gateway, _ = make(Faltering, golden=golden(LABELS), fault=fault)
    await gateway.start()
    assert await reasons(gateway) == ()


async def test_an_error_that_nobody_foresaw_ends_the_start(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    gateway, backend = make()

    async def unreadable() -> None:
        raise PermissionError(13, "Permission denied", "model_repository/nuclei/config.pbtxt")

    backend.start = unreadable  # type: ignore[method-assign]
    await gateway.start()
    assert gateway.started.is_set()
    (reason,) = await reasons(gateway)
    assert "the start failed: " in reason
    assert "Permission denied" in reason
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("moods", "words"),
    [
        ({"broken": "no such folder"}, "no such folder"),
        ({"default_model": "nobody"}, "there is no model 'nobody'; models here: "),
    ],
)
async def test_what_waiting_cannot_mend_ends_the_start(
    make: Make, moods: dict[str, Any], words: str
) -> None:
    gateway, _ = make(**moods)
    await gateway.start()
    assert gateway.started.is_set()
    assert gateway.failed is not None
    assert gateway.failed.startswith(words)
    assert await reasons(gateway) == (gateway.failed,)


async def test_a_golden_image_with_its_golden_answer_is_no_obstacle(make: Make) -> None:
    gateway, _ = make(golden=golden(LABELS))
    await gateway.start()
    assert await reasons(gateway) == ()


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (golden(LABELS * (LABELS < OBJECTS)), "the golden image gave "),
        (golden(np.roll(LABELS, 7, axis=0)), "golden instance 1 was found with IoU 0."),
        (golden(LABELS, b"no picture"), "the golden image was not answered: "),
    ],
    ids=["too many", "elsewhere", "broken"],
)
async def test_a_model_that_misses_its_golden_answer_keeps_the_gateway_from_being_ready(
    make: Make, expected: Golden, words: str
) -> None:
    gateway, _ = make(golden=expected)
    await gateway.start()
    assert gateway.failed is None
    (reason,) = await reasons(gateway)
    assert reason.startswith(f"model {MODEL}: {words}")


async def test_a_loaded_model_is_checked_before_it_counts(make: Make) -> None:
    gateway, backend = make()
    await gateway.start()
    backend.golden = golden(np.zeros_like(LABELS))
    with pytest.raises(BackendFailed, match="the golden image gave"):
        await gateway.load(MODEL)
    assert await reasons(gateway) != ()
    backend.golden = golden(LABELS)
    await gateway.load(MODEL)
    assert await reasons(gateway) == ()


async def test_a_right_version_takes_the_place_of_a_wrong_one(make: Make, tmp_path: Path) -> None:
    gateway, _ = make(golden=golden(LABELS), wrong_version="2")
    await gateway.start()
    shutil.copytree(tmp_path / MODEL / "1", tmp_path / MODEL / "2")
    with pytest.raises(BackendFailed, match="the golden image gave"):
        await gateway.load(MODEL)
    shutil.copytree(tmp_path / MODEL / "1", tmp_path / MODEL / "3")
    await gateway.load(MODEL)
    assert await reasons(gateway) == ()


async def test_a_wrong_version_that_could_not_be_unloaded_is_unloaded_the_next_time(
    make: Make, tmp_path: Path
) -> None:
    gateway, _ = make(Clinging, golden=golden(LABELS), wrong_version="2")
    await gateway.start()
    shutil.copytree(tmp_path / MODEL / "1", tmp_path / MODEL / "2")
    with pytest.raises(BackendFailed, match="the golden image gave"):
        await gateway.load(MODEL)
    shutil.copytree(tmp_path / MODEL / "1", tmp_path / MODEL / "3")
    with pytest.raises(BackendUnavailable):
        await gateway.load(MODEL)
    await gateway.load(MODEL)
    assert await reasons(gateway) == ()


async def test_metrics_tell_of_the_versions_that_are_served_and_of_no_others(
    make: Make, tmp_path: Path
) -> None:
    gateway, _ = make()
    await gateway.start()
    for version in ("2", "3"):
        shutil.copytree(tmp_path / MODEL / "1", tmp_path / MODEL / version)
        await gateway.load(MODEL)
    metrics = gateway._metrics
    for metric in (metrics.model_info, metrics.golden_check):
        (family,) = metric.collect()
        assert [sample.labels["version"] for sample in family.samples] == ["2", "3"]


async def test_a_backend_that_cannot_be_told_says_so(make: Make) -> None:
    gateway, _ = make(Untold)
    await gateway.start()
    with pytest.raises(BackendUnavailable, match="loads no models when told to"):
        await gateway.load(MODEL)
