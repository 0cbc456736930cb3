"""Normalisation: what of an image a network gets to see."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from training.config.model import Ground, ModelConfig
from training.models.normalise import Normalise, margin, of_one_colour


def pictures(*shape: int, low: int = 0, high: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, shape, generator=generator).float()


def test_normalisation_forgets_brightness_and_contrast() -> None:
    image = pictures(2, 3, 96, 64, high=200)
    normalise = Normalise(ModelConfig())
    torch.testing.assert_close(normalise(image), normalise(image * 0.7 + 30), atol=1e-4, rtol=0)


def test_normalisation_brings_the_robust_range_to_zero_and_one() -> None:
    image = pictures(1, 1, 64, 64).expand(1, 3, 64, 64)
    values = Normalise(ModelConfig())(image)[0, 0].flatten()
    assert torch.quantile(values, 0.01).item() == pytest.approx(0, abs=0.01)
    assert torch.quantile(values, 0.998).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("level", [0.0, 7.0, 255.0])
@pytest.mark.parametrize(("ground", "expected"), [("dark", 0), ("bright", 1)])
def test_an_image_without_contrast_is_ground_all_over(
    ground: Ground, expected: int, level: float
) -> None:
    flat = torch.full((1, 3, 40, 40), level)
    assert (Normalise(ModelConfig(ground=ground))(flat) == expected).all()


def test_the_ground_makes_no_difference_where_there_is_contrast() -> None:
    image = pictures(2, 3, 96, 64)
    dark, bright = (Normalise(ModelConfig(ground=ground))(image) for ground in get_args(Ground))
    torch.testing.assert_close(dark, bright, atol=1e-5, rtol=0)


def test_less_contrast_than_the_least_is_not_spread() -> None:
    image = pictures(1, 3, 64, 64, low=100, high=110)
    spread, kept = (
        Normalise(ModelConfig(ground="bright", least_contrast=least))(image) for least in (4, 100)
    )
    assert spread.min() < 0.1
    torch.testing.assert_close(kept, 1 + (image - image.max()) / 100, atol=0.02, rtol=0)


def field(*objects: tuple[slice, slice, float], ground: int = 210, noise: int = 2) -> Tensor:
    """Draw a noisy field of 200 px, (1, 3, 200, 200), with rectangles of other greys in it."""
    image = pictures(1, 1, 200, 200, low=ground - noise, high=ground + noise)
    for rows, columns, grey in objects:
        image[:, :, rows, columns] = grey
    return image.expand(1, 3, 200, 200)


SPOT = slice(40, 52), slice(61, 73)
"""0.36 % of the field, 9 of the 4096 points of the grid: 0.2 %."""

WITHIN = ..., slice(43, 49), slice(64, 70)

AWAY = ..., slice(100, 180), slice(None)


def test_the_range_of_noise_goes_down_to_dark_objects_that_its_quantile_leaves_out() -> None:
    values = Normalise(ModelConfig())(field((*SPOT, 60.0), noise=5))  # 15 times the noise
    assert values[WITHIN].min() > -2
    assert values[AWAY].min() > 0.8


def test_the_range_of_noise_goes_up_to_bright_objects_that_its_quantile_leaves_out() -> None:
    bright = slice(42, 50), slice(62, 70), 250.0  # 0.16 % of the field
    values = Normalise(ModelConfig())(field(bright, ground=20, noise=5))  # 23 times the noise
    assert values[..., 44:48, 64:68].max() < 4
    assert values[AWAY].max() < 0.25


def test_a_black_bar_does_not_hide_a_pale_object() -> None:
    bar = slice(190, 193), slice(150, 170), 0.0
    values = Normalise(ModelConfig())(field((*SPOT, 180.0), bar))
    assert values[WITHIN].max() < 0.5 < values[AWAY].min()


def test_a_range_that_holds_objects_stays_as_it_is_whatever_lies_beyond() -> None:
    pale = [(slice(y, y + 14), slice(20, 34), 180.0) for y in (20, 60, 100, 140)]
    speck = slice(100, 108), slice(100, 108), 0.0
    alone, beside = (Normalise(ModelConfig())(field(*pale, *more)) for more in ([], [speck]))
    torch.testing.assert_close(alone[..., :90, :], beside[..., :90, :], atol=0.1, rtol=0)


def test_a_dead_pixel_leaves_the_range_as_it_is() -> None:
    dead = slice(101, 102), slice(101, 102), 0.0  # beside the grid of the quantiles
    alone, beside = (Normalise(ModelConfig())(field(*it, noise=20)) for it in ((), (dead,)))
    torch.testing.assert_close(alone[..., 102:, :], beside[..., 102:, :])


@pytest.mark.parametrize("width_px", [2, 60])
@pytest.mark.parametrize("across", [False, True])
def test_a_black_margin_is_no_part_of_the_image(width_px: int, *, across: bool) -> None:
    pale = [(slice(y, y + 14), slice(x, x + 14), 180.0) for y in (70, 140) for x in (70, 140)]
    whole = field(*pale)
    bordered = whole.clone()
    bordered[:, :, :width_px] = 3  # as JPEG may make of 0
    if across:
        whole, bordered = whole.mT, bordered.mT
    inside, values = (Normalise(ModelConfig())(it)[..., 62:, 62:] for it in (whole, bordered))
    torch.testing.assert_close(inside, values, atol=0.1, rtol=0)


@pytest.mark.parametrize("ground", [0, 2])
def test_a_black_ground_is_no_margin(ground: int) -> None:
    image = torch.full((1, 1, 200, 200), float(ground))
    image[:, :, 40:80, 60:90] = 120
    image[:, :, 60:120, 80:160] = 250
    assert not margin(image)[0].any()


def test_a_bright_object_alone_on_black_is_no_image_with_a_margin() -> None:
    image = torch.zeros(1, 1, 200, 200)
    image[:, :, 40:100, 60:120] = 250
    assert not margin(image)[0].any()


def stained(ground: tuple[float, ...], objects: tuple[float, ...]) -> Tensor:
    """Draw blurred squares of one colour on a ground of another, (1, 3, 128, 128)."""
    share = torch.zeros(1, 1, 128, 128)
    for y in (20, 60, 100):
        for x in (15, 55, 95):
            share[:, :, y : y + 16, x : x + 16] = 1
    share = functional.avg_pool2d(share, 5, stride=1, padding=2)
    grounds, colours = (torch.tensor(c).view(1, 3, 1, 1) for c in (ground, objects))
    return (grounds + share * (colours - grounds)).round()


@pytest.mark.parametrize("colour", [(0, 0, 1), (0, 1, 0), (1, 0, 1), (0.25, 0.5, 1)])
def test_shades_of_one_colour_on_a_dark_ground_are_grey(colour: tuple[float, ...]) -> None:
    grey = stained((20.0,) * 3, (220.0,) * 3)
    tinted = grey * torch.tensor(colour).view(1, 3, 1, 1)
    normalise = Normalise(ModelConfig())
    torch.testing.assert_close(normalise(tinted), normalise(grey))


@pytest.mark.parametrize(
    ("ground", "objects"),
    [((230.0, 220.0, 235.0), (120.0, 60.0, 150.0)), ((60.0, 10.0, 10.0), (10.0, 10.0, 220.0))],
    ids=["tissue", "two dyes"],
)
def test_several_colours_stay(ground: tuple[float, ...], objects: tuple[float, ...]) -> None:
    image = stained(ground, objects)
    assert not of_one_colour(image[:, :, ::2, ::2]).any()
    values = Normalise(ModelConfig())(image)
    assert (values[:, 0] - values[:, 2]).abs().max() > 0.2


def test_faint_noise_is_not_blown_up_to_full_contrast() -> None:
    assert Normalise(ModelConfig())(pictures(1, 3, 64, 64, low=10, high=12)).abs().max() < 0.5


def test_colour_ratios_survive_normalisation() -> None:
    image = pictures(1, 3, 64, 64)
    image[:, 0] = 200
    normalised = Normalise(ModelConfig())(image)
    assert normalised[:, 0].std() == 0
    assert normalised[:, 1].std() > 0.1
