"""Foreground loss: cross-entropy and Dice, sharper where instances touch and along outlines."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.config.loss import ForegroundConfig


def foreground_loss(logits: Tensor, labels: Tensor, config: ForegroundConfig) -> dict[str, Tensor]:
    """Compute the terms and their weighted sum.

    Parameters
    ----------
    logits : (B, H, W) float
        One class.
    labels : (B, H, W) int64
        0 background, positive: an instance of the class, negative: ignore.
    config : ForegroundConfig
        Weights.

    Returns
    -------
    dict of str to 0-d tensor
        ``bce``, ``dice`` (unweighted) and ``total``.

    Notes
    -----
    Where every pixel is ignored both terms are 0, still attached to the graph.
    """
    known = (labels >= 0).to(logits.dtype)
    truth = (labels > 0).to(logits.dtype)
    weight = known * pixel_weights(labels, config).to(logits.dtype)
    per_pixel = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    bce = (weight * per_pixel).sum() / weight.sum().clamp_min(1)
    probability = torch.sigmoid(logits) * known
    overlap = (probability * truth).sum((1, 2))
    sizes = probability.sum((1, 2)) + truth.sum((1, 2))
    dice = (1 - (2 * overlap + 1) / (sizes + 1)).mean()
    return {"bce": bce, "dice": dice, "total": config.bce * bce + config.dice * dice}


def pixel_weights(labels: Tensor, config: ForegroundConfig) -> Tensor:
    """Give the weight of every pixel, (B, H, W) float32: 1, more near contacts and outlines.

    Parameters
    ----------
    labels : (B, H, W) int64
        0 background, positive: instances.
    config : ForegroundConfig
        ``touching_weight`` and ``edge_weight`` are added where they apply.
    """
    ids = labels[:, None].clamp_min(0).to(torch.float32)
    far = ids.amax() + 1
    lowest = torch.where(ids > 0, far - ids, 0.0)  # the pooled maximum finds the smallest id
    highest_near = functional.max_pool2d(ids, 5, stride=1, padding=2)
    lowest_near = far - functional.max_pool2d(lowest, 5, stride=1, padding=2)
    touching = (highest_near > 0) & (highest_near != lowest_near)
    inside = (ids > 0).to(torch.float32)
    grown = functional.max_pool2d(inside, 3, stride=1, padding=1)
    shrunk = -functional.max_pool2d(-inside, 3, stride=1, padding=1)
    edge = grown != shrunk
    weights = 1 + config.touching_weight * touching + config.edge_weight * edge
    return weights[:, 0]
