"""Small images of one request, and small tiles of one image, share calls of the network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.backends.base import CallContext, Model, Outputs
from service.backends.embedded import EmbeddedBackend
from service.domain import Deadline, ImageLimits, Priority
from service.errors import BackendFailed, DiscernError, UnsupportedFormat
from service.pipeline import Segmenter
from service.request import Asked, ScaledImage
from service.telemetry.metrics import Metrics
from service.together import group_small, look_together
from service.workers import Gate, Workers
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model

LIMITS = ImageLimits()
WRITER = WRITERS[Format.RLE]


class CountingBackend(EmbeddedBackend):
    """The embedded backend; notes what its calls are of, fails for one size."""

    shapes: list[tuple[int, ...]]
    sizes: list[tuple[int, int]]
    priorities: set[Priority]
    failing_side = 0

    async def infer(
        self, images: npt.NDArray[np.uint8], model: Model, context: CallContext
    ) -> Outputs:
        self.shapes.append(images.shape)
        self.sizes.extend(context.sizes)
        self.priorities.add(context.priority)
        if self.failing_side in images.shape:
            raise BackendFailed("told to fail")
        return await super().infer(images, model, context)


@pytest.fixture
async def segmenter(tmp_path: Path) -> AsyncIterator[Segmenter]:
    write_scenes_model(tmp_path)
    backend = CountingBackend(tmp_path, threads=1, calls=1)
    backend.shapes, backend.sizes, backend.priorities = [], [], set()
    await backend.start()
    workers = Workers(2)
    yield Segmenter(backend, workers, Gate(slots=2, waiting=2), Metrics(), LIMITS)
    workers.close()
    await backend.aclose()


def calls(segmenter: Segmenter) -> list[tuple[int, ...]]:
    assert isinstance(segmenter.backend, CountingBackend)
    return segmenter.backend.shapes


def asking(**wanted: object) -> Asked:
    return Asked(request_id="together", deadline=Deadline.after(60), model=MODEL, **wanted)  # type: ignore[arg-type]


def picture(height: int, width: int, *, seed: int = 0) -> bytes:
    return png_of(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_small_neighbours_are_grouped_and_large_ones_stay_alone() -> None:
    small, large = picture(64, 64), picture(1024, 600)
    assert group_small([small, small, large, small, b"none", small], LIMITS) == [
        [0, 1],
        [2],
        [3],
        [4],
        [5],
    ]


def test_a_group_has_at_most_eight_images_and_half_a_mebipixel() -> None:
    assert [len(group) for group in group_small([picture(32, 32)] * 19, LIMITS)] == [8, 8, 3]
    assert [len(group) for group in group_small([picture(512, 512)] * 5, LIMITS)] == [2, 2, 1]


def test_pixels_are_counted_as_the_network_sees_them() -> None:
    files = [picture(512, 512)] * 5
    assert [len(group) for group in group_small(files, LIMITS, scale=2)] == [1] * 5
    assert [len(group) for group in group_small(files, LIMITS, scale=0.05)] == [5]
    assert group_small([picture(1, 1)], LIMITS, scale=0.05) == [[0]]


def test_no_files_make_no_groups() -> None:
    assert group_small([], LIMITS) == []


async def test_images_of_one_shape_share_a_call_as_far_as_the_model_takes_them(
    segmenter: Segmenter,
) -> None:
    files = [picture(32, 48, seed=i) for i in range(6)] + [picture(64, 32)]
    found = await look_together(segmenter, files, [asking() for _ in files])
    assert calls(segmenter) == [(4, 32, 48, 3), (2, 32, 48, 3), (1, 64, 32, 3)]
    assert all(isinstance(seen, ScaledImage) and seen.prediction for seen in found)


async def test_answers_are_those_of_the_images_one_by_one(segmenter: Segmenter) -> None:
    files = [png_of(draw_scene(seed)[0]) for seed in range(3)]
    seen = await look_together(segmenter, files, [asking() for _ in files])
    for file, source in zip(files, seen, strict=True):
        assert isinstance(source, ScaledImage)
        together = await segmenter.segment(source, asking(), WRITER.render)
        alone = await segmenter.segment(file, asking(), WRITER.render)
        assert together.body == alone.body


async def test_a_call_names_the_size_of_each_image_without_its_padding(
    segmenter: Segmenter,
) -> None:
    files = [picture(31, 45), picture(26, 48), picture(32, 41)]
    await look_together(segmenter, files, [asking() for _ in files])
    assert isinstance(segmenter.backend, CountingBackend)
    assert calls(segmenter) == [(3, 32, 48, 3)]
    assert segmenter.backend.sizes == [(31, 45), (26, 48), (32, 41)]


async def test_every_image_of_a_call_has_spent_its_time_in_the_network(
    segmenter: Segmenter,
) -> None:
    files = [picture(32, 48, seed=i) for i in range(3)] + [picture(64, 32)]
    asked = [asking() for _ in files]
    await look_together(segmenter, files, asked)
    for each in asked:
        stages = [interval.stage for interval in each.clock.intervals if interval.stage != "queue"]
        assert list(dict.fromkeys(stages)) == ["decode", "inference"]
    sharing, alone = asked[0].clock.intervals, asked[3].clock.intervals
    first_call = max(end for stage, _, end in sharing if stage == "inference")
    assert first_call <= min(began for stage, began, _ in alone if stage == "inference")
    assert all(end < first_call for stage, _, end in alone if stage == "decode")


async def test_a_broken_image_does_not_touch_the_others(segmenter: Segmenter) -> None:
    files = [picture(32, 32), b"nothing", picture(32, 32)]
    first, broken, last = await look_together(segmenter, files, [asking() for _ in files])
    assert isinstance(broken, UnsupportedFormat)
    assert isinstance(first, ScaledImage)
    assert isinstance(last, ScaledImage)
    assert calls(segmenter) == [(2, 32, 32, 3)]


async def test_a_call_that_fails_is_the_answer_of_its_images_only(segmenter: Segmenter) -> None:
    assert isinstance(segmenter.backend, CountingBackend)
    segmenter.backend.failing_side = 64
    files = [picture(32, 32), picture(64, 32), picture(64, 32)]
    found = await look_together(segmenter, files, [asking() for _ in files])
    assert [isinstance(entry, DiscernError) for entry in found] == [False, True, True]


async def test_an_image_beyond_the_tile_is_left_to_be_cut(segmenter: Segmenter) -> None:
    [seen] = await look_together(segmenter, [picture(96, 32)], [asking(tile_px=64)])
    assert isinstance(seen, ScaledImage)
    assert seen.prediction is None
    assert calls(segmenter) == []


async def test_small_tiles_share_calls(segmenter: Segmenter) -> None:
    await segmenter.segment(picture(200, 200), asking(tile_px=64), WRITER.render)
    assert [shape[0] for shape in calls(segmenter)] == [4, 4, 4, 4]


async def test_the_backend_is_told_what_nobody_waits_for(segmenter: Segmenter) -> None:
    waiting = asking(priority=Priority.BACKGROUND)
    await segmenter.segment(picture(32, 32), waiting, WRITER.render)
    assert isinstance(segmenter.backend, CountingBackend)
    assert segmenter.backend.priorities == {Priority.BACKGROUND}
