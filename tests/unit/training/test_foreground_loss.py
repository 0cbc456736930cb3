"""The foreground loss: closed forms, weights, ignored pixels."""

from __future__ import annotations

import math

import pytest
import torch

from training.config.loss import ForegroundConfig
from training.losses.foreground import foreground_loss, pixel_weights

FLAT = ForegroundConfig(touching_weight=0, edge_weight=0)


def test_an_undecided_network_costs_log_two_per_pixel() -> None:
    labels = torch.tensor([[[1, 1, 0, 0]]])
    terms = foreground_loss(torch.zeros(1, 1, 4), labels, FLAT)
    assert terms["bce"].item() == pytest.approx(math.log(2))
    # Overlap 1 of sizes 2 and 2: 1 - (2 * 1 + 1) / (4 + 1).
    assert terms["dice"].item() == pytest.approx(0.4)


def test_a_certain_and_right_network_costs_nothing() -> None:
    labels = torch.tensor([[[3, 3, 0, 0]]])
    logits = torch.tensor([[[50.0, 50.0, -50.0, -50.0]]])
    assert foreground_loss(logits, labels, FLAT)["total"].item() == pytest.approx(0, abs=1e-6)


def test_ignored_pixels_have_no_say() -> None:
    logits = torch.tensor([[[2.0, -1.0, 0.5]]])
    kept = foreground_loss(logits[:, :, :2], torch.tensor([[[1, 0]]]), FLAT)["total"]
    padded = foreground_loss(logits, torch.tensor([[[1, 0, -1]]]), FLAT)["total"]
    assert padded.item() == pytest.approx(kept.item())


def test_a_batch_of_ignored_pixels_gives_zero_cross_entropy_with_a_gradient() -> None:
    logits = torch.randn(1, 3, 3, requires_grad=True)
    loss = foreground_loss(logits, torch.full((1, 3, 3), -1), ForegroundConfig())["total"]
    torch.autograd.backward([loss])
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_pixels_near_two_instances_weigh_more_than_those_near_one() -> None:
    config = ForegroundConfig(touching_weight=5, edge_weight=0)
    labels = torch.tensor([[[1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0]]])
    weights = pixel_weights(labels, config)[0, 0].tolist()
    assert weights == [1, 1, 6, 6, 6, 6, 1, 1, 1, 1, 1]


def test_pixels_on_either_side_of_an_outline_weigh_more() -> None:
    config = ForegroundConfig(touching_weight=0, edge_weight=3)
    weights = pixel_weights(torch.tensor([[[0, 0, 0, 1, 1, 1, 1]]]), config)[0, 0].tolist()
    assert weights == [1, 1, 4, 4, 1, 1, 1]
