"""Recurrent pixel embedding against worked numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.config.loss import RecurrentConfig
from training.losses.recurrent import mean_shift, pair_loss, recurrent_loss

POINTS = torch.tensor([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=torch.float64)
GROUPS = torch.tensor([1, 1, 2, 2])
HALF = RecurrentConfig(alpha=0.5)


def closed_form(points: Tensor, groups: Tensor) -> float:
    """Give the positive part as it follows from the means of the groups."""
    means = [points[groups == group].mean(0) for group in range(4)]
    return float(sum((1 - mean.square().sum()) / 2 for mean in means) / len(means) ** 2)


@pytest.mark.parametrize(("negative", "expected"), [(0.0, 0.0875), (1.0, 0.1375), (5.0, 0.3375)])
def test_worked_example_has_its_values(negative: float, expected: float) -> None:
    loss = pair_loss(POINTS, GROUPS, RecurrentConfig(negative=negative))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("negative", "expected"), [(0.0, 0.0802777778), (1.0, 0.0802777778 + 0.0583333333)]
)
def test_a_further_pixel_leaves_the_weight_of_its_group(negative: float, expected: float) -> None:
    points = torch.cat([POINTS, torch.tensor([[0.8, 0.6]], dtype=torch.float64)])
    groups = torch.cat([GROUPS, torch.tensor([1])])
    loss = pair_loss(points, groups, RecurrentConfig(negative=negative))
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_the_positive_part_has_its_closed_form() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    points = points / points.norm(dim=1, keepdim=True)
    groups = torch.randint(0, 4, (40,), generator=generator)
    loss = pair_loss(points, groups, RecurrentConfig(negative=0)).item()
    assert loss == pytest.approx(closed_form(points, groups))


def test_one_step_of_mean_shift_has_its_values() -> None:
    moved = mean_shift(POINTS, 2.0)
    expected = [
        [0.929934, 0.367727],
        [0.565661, 0.824638],
        [0.253265, 0.967397],
        [-0.984955, 0.172810],
    ]
    torch.testing.assert_close(
        moved, torch.tensor(expected, dtype=torch.float64), atol=3e-5, rtol=0
    )
    assert pair_loss(moved, GROUPS, HALF).item() == pytest.approx(0.1740800738, abs=3e-5)


def test_narrow_kernels_gather_points_at_the_middle_of_their_groups() -> None:
    angles = torch.tensor([0.0, 4, 8, 90, 95, 180, 184, 188], dtype=torch.float64) * math.pi / 180
    points = torch.stack([angles.cos(), angles.sin()], dim=1)
    for _ in range(10):
        points = mean_shift(points, 100.0)
    found = torch.rad2deg(torch.atan2(points[:, 1], points[:, 0])) % 360
    expected = torch.tensor([4.0, 4, 4, 92.5, 92.5, 184, 184, 184], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_steps_are_added_and_background_is_a_group() -> None:
    embedding = POINTS.T.reshape(1, 2, 1, 4)
    labels = torch.tensor([[[0, 0, 3, 3]]])
    config = RecurrentConfig(steps=1, kappa=2.0)
    terms = recurrent_loss(embedding, labels, config, torch.Generator().manual_seed(0))
    assert terms["step0"].item() == pytest.approx(0.1375, abs=3e-5)
    assert terms["total"].item() == pytest.approx(0.1375 + 0.1740800738, abs=6e-5)


def test_quadratic_penalties_weigh_large_errors_more() -> None:
    config = RecurrentConfig(penalty="quadratic", negative=0.0)
    # Errors .2 (twice) and .5 (twice), squared and halved, each group pair with weight 1/4.
    assert pair_loss(POINTS, GROUPS, config).item() == pytest.approx(
        (2 * 0.2**2 + 2 * 0.5**2) / 2 / 16
    )


def test_images_without_instances_or_vectors_of_length_zero_stay_finite() -> None:
    embedding = torch.zeros(2, 3, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, 0], [0, 0]], [[1, 2], [0, -1]]])
    for background in ("cluster", "ignore"):
        config = RecurrentConfig(background=background)
        loss = recurrent_loss(embedding, labels, config, torch.Generator().manual_seed(0))["total"]
        torch.autograd.backward([loss])
    assert embedding.grad is not None
    assert embedding.grad.isfinite().all()
    none = torch.zeros_like(labels)
    ignored = recurrent_loss(
        embedding, none - 1, RecurrentConfig(), torch.Generator().manual_seed(0)
    )
    assert ignored["total"].item() == 0
