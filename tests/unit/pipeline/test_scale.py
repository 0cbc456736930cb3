"""Images whose objects are not as large as those that the network knows."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.domain import Deadline
from service.errors import BadParameter
from service.gateway import Gateway
from service.local import running_gateway
from service.postprocess.labelled import ExtractOptions
from service.request import Asked, Reply
from service.settings import Settings
from service.together import look_together
from tests.live import ROOT
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model
from training.data.synthetic import NucleiDataset
from training.metrics.matching import match, overlap

IMAGE, LABELS = draw_scene(3)
COUNT = int(LABELS.max())
TWICE = png_of(IMAGE.repeat(2, 0).repeat(2, 1))


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    write_scenes_model(tmp_path)
    settings = Settings(model_repository=tmp_path, default_model=MODEL)
    async with running_gateway(settings) as running:
        yield running


def half(**wanted: Any) -> Asked:
    """Ask for `TWICE` at half its scale, or for what else is wanted."""
    fields = {"model": MODEL, "scale": 0.5, **wanted}
    return Asked(request_id="scale", deadline=Deadline.after(60), **fields)


async def reply_of(gateway: Gateway, asked: Asked, kind: Format = Format.RLE) -> Reply:
    return await gateway.segmenter.segment(TWICE, asked, WRITERS[kind].render)


async def test_masks_have_the_size_of_the_image(gateway: Gateway) -> None:
    reply = await reply_of(gateway, half())
    found = reply.result.segmentation
    assert reply.result.scaled.size == LABELS.shape
    assert found.count == COUNT
    assert found.rles[0]["size"] == [2 * side for side in LABELS.shape]
    drawn = LABELS.repeat(2, 0).repeat(2, 1)
    assert match(overlap(found.labels, drawn), 0.9).f1 == 1


async def test_tiles_are_cut_from_what_the_network_sees(gateway: Gateway) -> None:
    whole, tiled = await reply_of(gateway, half()), await reply_of(gateway, half(tile_px=64))
    assert tiled.result.scaled.prediction is None
    pair = overlap(tiled.result.segmentation.labels, whole.result.segmentation.labels)
    assert match(pair, 0.8).f1 > 0.9
    assert (await reply_of(gateway, half(tile_px=120))).result.scaled.prediction


@pytest.mark.parametrize("tile_px", [64, 1024])
async def test_the_smallest_area_is_in_pixels_of_the_image(gateway: Gateway, tile_px: int) -> None:
    areas = (await reply_of(gateway, half())).result.segmentation.areas_px
    least = int(np.median(areas))
    asked = half(options=ExtractOptions(min_area=least), tile_px=tile_px)
    kept = (await reply_of(gateway, asked)).result.segmentation.areas_px
    assert 0 < kept.size < areas.size
    assert kept.min() >= least


@pytest.mark.parametrize(
    "kind", [Format.FOREGROUND_PNG, Format.OVERLAY_PNG, Format.LABEL_PNG, Format.INPUT_PNG]
)
async def test_pictures_have_the_size_of_the_image(gateway: Gateway, kind: Format) -> None:
    reply = await reply_of(gateway, half(), kind)
    with Image.open(io.BytesIO(reply.body)) as picture:
        assert picture.size == (2 * LABELS.shape[1], 2 * LABELS.shape[0])


async def test_panels_and_embedding_can_be_drawn(gateway: Gateway) -> None:
    panels = (await reply_of(gateway, half(), Format.PANELS_PNG)).body
    with Image.open(io.BytesIO(panels)) as picture:
        assert picture.height == 2 * LABELS.shape[0]
    embedding = (await reply_of(gateway, half(), Format.EMBEDDING_PNG)).body
    with Image.open(io.BytesIO(embedding)) as picture:
        assert picture.size == LABELS.shape[::-1]


async def test_what_was_kept_keeps_its_scale(gateway: Gateway) -> None:
    first = await reply_of(gateway, half(keep=True))
    assert first.kept is not None
    again = await gateway.segmenter.segment(first.kept, half(scale=1.0), WRITERS[Format.RLE].render)
    assert again.body == first.body


async def test_images_that_are_looked_at_together_are_scaled_too(gateway: Gateway) -> None:
    both = await look_together(gateway.segmenter, [TWICE, TWICE], [half(), half()])
    assert all(not isinstance(seen, Exception) and seen.size == LABELS.shape for seen in both)


async def test_an_image_that_would_be_too_large_is_refused(gateway: Gateway) -> None:
    limits = replace(gateway.segmenter.limits, max_pixels=100_000)
    gateway.segmenter.limits = limits
    with pytest.raises(BadParameter, match="more than the 100000 pixels"):
        await reply_of(gateway, half(scale=2.0))


async def test_magnified_nuclei_are_found_where_the_scale_says_so() -> None:
    sample = NucleiDataset(count=1, seed=9, size=192)[0]
    large = np.asarray(Image.fromarray(sample.image).resize((768, 768), Image.Resampling.BICUBIC))
    drawn = sample.labels.repeat(4, 0).repeat(4, 1)
    f1 = {}
    async with running_gateway(Settings(model_repository=ROOT / "model_repository")) as running:
        for scale in (1.0, 0.25):
            asked = Asked(
                request_id="nuclei", deadline=Deadline.after(120), model="nuclei", scale=scale
            )
            reply = await running.segmenter.segment(
                png_of(large), asked, WRITERS[Format.RLE].render
            )
            f1[scale] = match(overlap(drawn, reply.result.segmentation.labels), 0.5).f1
    assert f1[0.25] > max(0.8, f1[1.0] + 0.2)
