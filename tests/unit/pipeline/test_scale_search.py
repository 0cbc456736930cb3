"""The scale that suits an image: how it is searched, and what that finds."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import numpy as np
import orjson
import pytest
from PIL import Image

from service.api.formats import WRITERS, write_answer
from service.api.schemas import Format
from service.backends.base import Model
from service.domain import Category, Deadline, DecodedImage, ImageLimits, Prediction
from service.gateway import Gateway
from service.local import running_gateway
from service.recipe import Recipe
from service.request import Asked, Reply, ScaledImage
from service.scale_search import OCTAVE, Look, best_look, judge, largest_scale, part_at
from service.settings import Settings
from tests.live import ROOT
from tests.scenes import png_of
from training.data.synthetic import NucleiDataset
from training.metrics.matching import match, overlap

USUAL_PX = 20.0
RECIPE = Recipe(
    method="discriminative",
    embedding_size=1,
    classes=(Category(1, "disc"),),
    size_multiple=1,
    decoder={"bandwidth": 1.0, "min_pixels": 1.0},
    object_px=USUAL_PX,
)


def scaled_of(pixels: np.ndarray, recipe: Recipe = RECIPE) -> ScaledImage:
    image = DecodedImage(pixels, "png")
    return ScaledImage(Model("discs", "1", recipe, 1, {}), image, 1.0, image.pixels)


GREY = np.zeros((90, 60, 3), np.uint8)


class Looks:
    """Answers with a fitness that depends on the scale alone; keeps the scales it was asked for."""

    def __init__(self, fitness: Mapping[float, float], diameter_px: float = USUAL_PX) -> None:
        self.fitness = fitness
        self.diameter_px = diameter_px
        self.asked: list[float] = []

    async def __call__(self, scale: float) -> Look:
        self.asked.append(scale)
        seen = replace(scaled_of(GREY), scale=scale)
        return Look(seen, self.fitness.get(scale, -math.inf), self.diameter_px * scale)

    async def best(self, usual_px: float = USUAL_PX, largest: float = 100.0) -> float:
        return (await best_look(self, usual_px, largest)).scaled.scale


async def test_the_scale_of_the_best_look_is_taken() -> None:
    looks = Looks({1: 0.5, 0.5: 0.9, 0.25: 0.6})
    assert await looks.best() == 0.5
    assert looks.asked == [1, 0.5, 0.25]


async def test_of_equals_the_image_as_it_is_is_taken() -> None:
    assert await Looks({1: 0.7, 0.5: 0.7, 0.25: 0.7}).best() == 1


async def test_reducing_goes_on_as_long_as_it_gets_better() -> None:
    looks = Looks({1: 0.1, 0.5: 0.2, 0.25: 0.3, 0.125: 0.4, 0.0625: 0.5, 0.03125: 0.6})
    assert await looks.best() == 0.0625
    assert await Looks({0.25: 0.3, 0.125: 0.2, 0.0625: 0.9}).best() == 0.25


async def test_enlarging_is_tried_where_objects_are_small_and_goes_on_while_they_are() -> None:
    looks = Looks({1: 0.5, 2: 0.6, 4: 0.7, 8: 0.8}, diameter_px=2)
    assert await looks.best() == 4
    assert looks.asked == [1, 0.5, 0.25, 2, 4]
    assert await Looks({1: 0.5, 2: 0.6, 4: 0.7}, diameter_px=6).best() == 2
    assert await Looks({1: 0.5, 2: 0.4}, diameter_px=2).best() == 1


async def test_nothing_is_enlarged_that_has_its_size_already_or_that_nobody_knows() -> None:
    assert await Looks({1: 0.5, 2: 0.9}, diameter_px=15).best() == 1
    assert await Looks({1: 0.5, 2: 0.9}, diameter_px=2).best(usual_px=0) == 1


async def test_an_image_is_enlarged_no_further_than_its_limits_allow() -> None:
    assert await Looks({1: 0.5, 2: 0.6, 4: 0.7}, diameter_px=2).best(largest=3.9) == 2


async def test_where_nothing_is_found_the_image_stays_as_it_is() -> None:
    looks = Looks({}, diameter_px=0)
    assert await looks.best() == 1
    assert looks.asked == [1, 0.5, 0.25, 2]


def disc_of(diameter_px: int, logit: float) -> Prediction:
    """Return one disc in the middle of 64 x 64 pixels."""
    y, x = np.mgrid[:64, :64] - 31.5
    inside = x**2 + y**2 < (diameter_px / 2) ** 2
    foreground = np.where(inside, logit, -9.0).astype(np.float32)
    return Prediction(np.zeros((1, 64, 64), np.float32), foreground[None])


def test_a_size_that_is_unusual_counts_against_a_look() -> None:
    seen = scaled_of(np.zeros((64, 64, 3), np.uint8))
    usual, twice = (judge(seen, disc_of(px, 9.0)) for px in (20, 40))
    assert usual.diameter_px == pytest.approx(20, rel=0.02)
    assert twice.diameter_px == pytest.approx(40, rel=0.02)
    assert usual.fitness - twice.fitness == pytest.approx(OCTAVE, abs=0.01)
    nobody_knows = scaled_of(seen.pixels, replace(RECIPE, object_px=0.0))
    assert judge(nobody_knows, disc_of(40, 9.0)).fitness == pytest.approx(1, abs=0.01)


def test_what_the_recipe_would_not_show_does_not_count() -> None:
    seen = scaled_of(np.zeros((64, 64, 3), np.uint8))
    assert judge(seen, disc_of(20, 0.5)).fitness > 0
    strict = scaled_of(seen.pixels, replace(RECIPE, min_score=0.9))
    assert judge(strict, disc_of(20, 0.5)) == Look(strict, -math.inf, 0.0)
    assert judge(seen, disc_of(0, 0.5)) == Look(seen, -math.inf, 0.0)


def test_of_a_large_image_the_busiest_part_is_looked_at() -> None:
    pixels = np.full((300, 500, 3), 90, np.uint8)
    pixels[200:300, 400:500] = np.random.default_rng(0).integers(0, 256, (100, 100, 3))
    seen = scaled_of(pixels)
    part = part_at(seen, 1.0, 100, ImageLimits())
    assert np.array_equal(part.pixels, pixels[200:300, 400:500])
    assert part_at(seen, 0.5, 100, ImageLimits()).size == (100, 100)
    assert part_at(seen, 2.0, 100, ImageLimits()).size == (100, 100)
    assert part_at(seen, 0.2, 100, ImageLimits()).size == (60, 100)
    assert part_at(seen, 1.0, 500, ImageLimits()).pixels is pixels


def test_the_largest_scale_keeps_to_the_limits() -> None:
    limits = ImageLimits(max_pixels=10_000, max_side_px=300)
    assert largest_scale((50, 50), limits) == 2
    assert largest_scale((10, 100), limits) == 3


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with running_gateway(Settings(model_repository=ROOT / "model_repository")) as running:
        yield running


SAMPLE = NucleiDataset(count=1, seed=9, size=192)[0]


async def search(gateway: Gateway, pixels: np.ndarray, **wanted: int | bool) -> Reply:
    asked = Asked(
        request_id="auto", deadline=Deadline.after(120), model="nuclei", scale=None, **wanted  # type: ignore[arg-type]
    )  # fmt: skip
    return await gateway.segmenter.segment(png_of(pixels), asked, WRITERS[Format.RLE].render)


@pytest.mark.parametrize("tile_px", [256, 1024])
async def test_magnified_nuclei_are_found_by_themselves(gateway: Gateway, tile_px: int) -> None:
    large = np.asarray(Image.fromarray(SAMPLE.image).resize((768, 768), Image.Resampling.BICUBIC))
    reply = await search(gateway, large, tile_px=tile_px)
    drawn = SAMPLE.labels.repeat(4, 0).repeat(4, 1)
    assert match(overlap(drawn, reply.result.segmentation.labels), 0.5).f1 > 0.8
    scale = orjson.loads(write_answer(reply, WRITERS[Format.RLE]))["image"]["scale"]
    assert scale == reply.result.scaled.scale < 1


async def test_an_image_that_was_searched_can_be_kept(gateway: Gateway) -> None:
    reply = await search(gateway, SAMPLE.image, keep=True)
    assert reply.kept is not None
    assert reply.kept.scale == reply.result.scaled.scale


async def test_an_empty_image_has_no_instances_at_its_own_scale(gateway: Gateway) -> None:
    reply = await search(gateway, np.zeros((40, 30, 3), np.uint8))
    assert (reply.result.scaled.scale, reply.result.segmentation.count) == (1.0, 0)
