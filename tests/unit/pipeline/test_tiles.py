"""Images larger than a tile: cut, segmented, joined, within the same request."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.domain import Deadline, DecodedImage
from service.errors import BadParameter, OutOfMemory
from service.gateway import Gateway
from service.local import running_gateway
from service.postprocess.labelled import ExtractOptions
from service.request import Asked, Reply, ScaledImage
from service.settings import Settings
from tests.live import ROOT
from tests.scenes import MODEL, write_scenes_model
from training.data.synthetic import NucleiDataset, SticksDataset
from training.metrics.matching import match, overlap


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    settings = Settings(model_repository=ROOT / "model_repository")
    async with running_gateway(settings) as running:
        yield running


@pytest.fixture
async def scenes(tmp_path: Path) -> AsyncIterator[Gateway]:
    write_scenes_model(tmp_path)
    settings = Settings(model_repository=tmp_path, default_model=MODEL)
    async with running_gateway(settings) as running:
        yield running


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


async def reply_of(
    gateway: Gateway, pixels: npt.NDArray[np.uint8], *, kind: Format = Format.RLE, **wanted: Any
) -> Reply:
    """Segment a picture; what is asked are fields of `Asked`."""
    fields = {"model": "nuclei", **wanted}
    asked = Asked(request_id="tiles", deadline=Deadline.after(120), keep=True, **fields)
    return await gateway.segmenter.segment(png(pixels), asked, WRITERS[kind].render)


async def test_an_image_in_tiles_gets_the_masks_of_the_image_as_a_whole(gateway: Gateway) -> None:
    image = NucleiDataset(count=1, seed=9, size=480, min_objects=90, max_objects=90)[0].image
    whole = await reply_of(gateway, image, tile_px=480)
    tiled = await reply_of(gateway, image, tile_px=288)
    pair = overlap(whole.result.segmentation.labels, tiled.result.segmentation.labels)
    assert match(pair, 0.7).f1 >= 0.85
    assert tiled.result.scaled.prediction is None
    assert tiled.kept is None
    assert whole.kept is not None


async def test_instances_of_a_tiled_image_are_ranked_and_numbered_as_any_other(
    gateway: Gateway,
) -> None:
    image = NucleiDataset(count=1, seed=10, size=400, min_objects=60, max_objects=60)[0].image
    found = (await reply_of(gateway, image, tile_px=256)).result.segmentation
    assert [instance.id for instance in found.instances] == list(range(1, len(found.instances) + 1))
    assert set(np.unique(found.labels)) == {0, *(instance.id for instance in found.instances)}
    scores = [instance.score for instance in found.instances]
    assert scores == sorted(scores, reverse=True)


async def test_an_image_whose_labels_there_is_no_memory_for_says_so(gateway: Gateway) -> None:
    asked = Asked(request_id="large", deadline=Deadline.after(60), model="nuclei", tile_px=2**22)
    model = await gateway.segmenter.model(asked)
    pixels = np.broadcast_to(np.uint8(0), (2**23, 2**23, 3))  # one byte; its labels are 2**48
    image = DecodedImage(pixels, "png", orientation_applied=False, source_bits=8)
    with pytest.raises(OutOfMemory):
        await gateway.segmenter.segment(
            ScaledImage(model, image, 1.0, pixels), asked, WRITERS[Format.RLE].render
        )


@pytest.mark.parametrize("scale", [1.0, 0.5])
async def test_the_smallest_area_is_asked_of_whole_objects_not_of_what_a_tile_sees(
    scenes: Gateway, scale: float
) -> None:
    image = np.zeros((96, 640, 3), np.uint8)
    image[16:80, 180:420] = 240, 40, 40  # over three tiles
    image[16:80, 480:540] = 40, 240, 40
    image[16:24, 600:608] = 40, 40, 240

    async def found(min_area: int | None) -> list[tuple[int, tuple[int, int, int, int]]]:
        options, side = ExtractOptions(min_area=min_area), int(256 * scale)
        reply = await reply_of(
            scenes, image, model=MODEL, options=options, scale=scale, tile_px=side
        )
        instances = reply.result.segmentation.instances
        return sorted((instance.area_px, instance.bbox_xywh) for instance in instances)

    every = [(64, (600, 16, 8, 8)), (3840, (480, 16, 60, 64)), (15360, (180, 16, 240, 64))]
    assert await found(None) == every
    assert await found(65) == every[1:]
    assert await found(15_000) == every[2:]
    assert await found(15_361) == []


async def test_no_sliver_is_left_where_two_tiles_disagree(gateway: Gateway) -> None:
    image = SticksDataset(count=1, seed=6, size=420)[0].image
    reply = await reply_of(gateway, image, tile_px=128, model="sticks")
    least = reply.result.scaled.model.recipe.decoder["min_pixels"]
    assert min(i.area_px for i in reply.result.segmentation.instances) >= least


@pytest.mark.parametrize("tile_px", [192, 256], ids=["tiled", "whole"])
async def test_the_smallest_area_changes_nothing_that_is_larger(
    gateway: Gateway, tile_px: int
) -> None:
    image = NucleiDataset(count=1, seed=12, size=256, min_objects=60, max_objects=60)[0].image

    async def found(min_area: int | None) -> set[str]:
        options = ExtractOptions(min_area=min_area)
        reply = await reply_of(gateway, image, tile_px=tile_px, options=options)
        instances = reply.result.segmentation.instances
        return {i.rle["counts"] for i in instances if i.area_px >= 200}

    every = await found(None)
    assert len(every) > 20
    assert await found(200) == every


async def test_a_picture_of_the_embedding_of_a_tiled_image_is_refused_with_the_reason(
    gateway: Gateway,
) -> None:
    image = NucleiDataset(count=1, seed=11, size=300)[0].image
    with pytest.raises(BadParameter, match="fits into one tile"):
        await reply_of(gateway, image, tile_px=256, kind=Format.EMBEDDING_PNG)
