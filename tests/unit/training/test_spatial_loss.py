"""Spatial embeddings: closed forms of every term."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from training.config.loss import SpatialConfig
from training.losses.spatial import lovasz_hinge, spatial_loss

LABELS = torch.tensor([[[1, 1, 1, 0, 0, 2, 2, 2]]])
CENTRES = torch.tensor([1.0, 1, 1, 0, 0, 6, 6, 6], dtype=torch.float64)
CONFIG = SpatialConfig(unit_px=1.0)


def perfect() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels point at their centre, margins are narrow, seeds are certain."""
    offsets = torch.zeros(1, 2, 1, 8, dtype=torch.float64)
    offsets[0, 1, 0] = torch.where(LABELS[0, 0] > 0, CENTRES - torch.arange(8), 0)
    sigma = torch.full((1, 2, 1, 8), 0.3, dtype=torch.float64)
    seeds = torch.where(LABELS > 0, 40.0, -40.0).to(torch.float64)
    return offsets, sigma, seeds


def test_lovasz_hinge_has_its_worked_value() -> None:
    logits = torch.tensor([[0.2, 0.9, -0.4]], dtype=torch.float64)
    truth = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    assert lovasz_hinge(logits, truth).item() == pytest.approx(0.5333333333)


def test_a_perfect_network_costs_nothing() -> None:
    terms = spatial_loss(*perfect(), LABELS, CONFIG)
    assert terms["total"].item() == pytest.approx(0, abs=1e-6)


def test_pixels_that_point_nowhere_cost_overlap() -> None:
    _, sigma, seeds = perfect()
    terms = spatial_loss(torch.zeros_like(sigma), sigma, seeds, LABELS, CONFIG)
    assert terms["instance"].item() > 0.5


def test_uneven_margins_cost_their_variance() -> None:
    offsets, sigma, seeds = perfect()
    sigma[0, :, 0, 0] += 0.3
    terms = spatial_loss(offsets, sigma, seeds, LABELS, CONFIG)
    # Around the mean 0.4: .2, -.1, -.1 squared, over 3 pixels, over 2 instances.
    assert terms["variance"].item() == pytest.approx((0.04 + 0.01 + 0.01) / 3 / 2)


def test_seeds_learn_how_near_their_pixel_points_to_the_centre() -> None:
    offsets, sigma, _ = perfect()
    offsets[0, 1, 0, 0] += 0.2
    certain = perfect()[2]
    phi = math.exp(-math.exp(3.0) * 0.2**2)
    terms = spatial_loss(offsets, sigma, certain, LABELS, CONFIG)
    assert terms["seed"].item() == pytest.approx(10 * (1 - phi) ** 2 / 8, rel=1e-6)


@pytest.mark.parametrize(
    ("centre", "expected"), [("centroid", 11 / 3), ("medoid", 3.0), ("embedding", 3.0)]
)
def test_the_centre_is_the_one_asked_for(centre: str, expected: float) -> None:
    labels = torch.tensor([[[0, 0, 1, 1, 0, 0, 1]]])
    offsets = torch.zeros(1, 2, 1, 7, dtype=torch.float64)
    offsets[0, 1, 0] = torch.where(labels[0, 0] > 0, expected - torch.arange(7), 0)
    sigma = torch.full((1, 1, 1, 7), 0.5, dtype=torch.float64)
    seeds = torch.where(labels > 0, 40.0, -40.0).to(torch.float64)
    config = SpatialConfig(unit_px=1.0, centre=centre)  # type: ignore[arg-type]
    terms = spatial_loss(offsets, sigma, seeds, labels, config)
    assert terms["instance"].item() == pytest.approx(0, abs=1e-4)


def test_an_empty_image_trains_the_seed_map_alone() -> None:
    offsets = torch.randn(1, 2, 3, 3, requires_grad=True)
    seeds = torch.zeros(1, 3, 3, requires_grad=True)
    labels = torch.zeros(1, 3, 3, dtype=torch.int64)
    terms = spatial_loss(offsets, torch.zeros(1, 2, 3, 3), seeds, labels, CONFIG)
    torch.autograd.backward([terms["total"]])
    assert terms["seed"].item() == pytest.approx(0.25)
    assert offsets.grad is not None
    assert offsets.grad.count_nonzero() == 0


def test_an_unknown_centre_is_refused() -> None:
    with pytest.raises(ValidationError, match="centre"):
        SpatialConfig(centre="corner")  # type: ignore[arg-type]
