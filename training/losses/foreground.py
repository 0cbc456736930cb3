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
    ids = labels.clamp_min(0).to(torch.int32)
    inside = ids > 0
    far = ids.amax() + 1
    # The largest of what is left up to `far` is the smallest id; 0 stands for none in both.
    highest, left = _largest_near(torch.stack([ids, torch.where(inside, far - ids, 0)]), 2)
    touching = (highest > 0) & (highest + left != far)
    # Neither all nor none of the neighbourhood lies inside.
    some, others = _largest_near(torch.stack([inside, ~inside]).to(torch.uint8), 1)
    edge = some == others
    weights: Tensor = touching.to(torch.float32).mul_(config.touching_weight).add_(1)
    weights += config.edge_weight * edge.to(torch.float32)
    return weights


def _largest_near(values: Tensor, radius: int) -> Tensor:
    """Give the largest of the square around each pixel; beyond the image there is nothing.

    Along one axis, then the other, by shifting: several times as fast as pooling on a CPU.
    """
    for axis in (-2, -1):
        near, size = values.clone(), values.shape[axis]
        for shift in range(1, min(radius, size - 1) + 1):
            for to, start in ((shift, 0), (0, shift)):
                part = near.narrow(axis, to, size - shift)
                torch.maximum(part, values.narrow(axis, start, size - shift), out=part)
        values = near
    return values
