"""Recurrent pixel embedding: pairs on the sphere, before and after steps of mean shift.

Kong and Fowlkes 2018 (arXiv:1712.08273). Axes: S sampled pixels, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from training.config.loss import RecurrentConfig
from training.losses.segments import sample, segment

_EPSILON = 1e-5
"""Added to the length before dividing by it: a zero vector must not have endless gradients."""


def recurrent_loss(
    embedding: Tensor, labels: Tensor, config: RecurrentConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Compute the pair loss summed over the steps of grouping.

    Parameters
    ----------
    embedding : (B, D, H, W) float
        Vectors of any length; they are normalised here.
    labels : (B, H, W) int64
        0 background, positive ids, negative: ignore.
    config : RecurrentConfig
        Margin, weights, steps.
    generator : Generator
        Draws the pixels.

    Returns
    -------
    dict of str to 0-d tensor
        ``step0`` .. ``stepT`` and ``total``, their sum.
    """
    if config.background == "cluster":
        labels = torch.where(labels >= 0, labels + 1, labels)
    segments = segment(embedding, labels)
    if segments.index.numel() == 0:
        return {"total": 0.0 * embedding.sum()}
    most = segments.counts.shape[1]
    image = torch.div(segments.index, most, rounding_mode="floor")
    chosen = sample(image, config.samples, generator)
    # One image at a time: each has its own groups, and the pair matrices are the memory.
    drawn = torch.unique_consecutive(image[chosen], return_counts=True)[1].tolist()
    pixels = torch.split(segments.pixels[chosen], drawn)
    groups = torch.split(segments.index[chosen], drawn)
    terms: dict[str, Tensor] = {}
    for part in zip(pixels, groups, strict=True):
        for step, value in enumerate(_steps(*part, config)):
            terms[f"step{step}"] = terms.get(f"step{step}", 0.0) + value / len(drawn)
    terms["total"] = torch.stack(list(terms.values())).sum()
    return terms


def _steps(pixels: Tensor, groups: Tensor, config: RecurrentConfig) -> Iterator[Tensor]:
    """Compare the pairs of one image before the first step of mean shift, and after each."""
    points = unit(pixels)
    yield pair_loss(points, groups, config)
    for _ in range(config.steps):
        points = mean_shift(points, config.kappa)
        yield pair_loss(points, groups, config)


def unit(points: Tensor) -> Tensor:
    """Scale (S, D) vectors to length one."""
    length: Tensor = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    return points / (length + _EPSILON)


def mean_shift(points: Tensor, kappa: float) -> Tensor:
    """Move (S, D) unit vectors one step uphill in the density they form themselves."""
    return unit(torch.softmax(kappa * points @ points.T, dim=1) @ points)


def pair_loss(points: Tensor, groups: Tensor, config: RecurrentConfig) -> Tensor:
    """Compare all pairs of (S, D) unit vectors; every pair of groups weighs alike."""
    similarity = (1 + points @ points.T) / 2
    same = groups[:, None] == groups[None]
    _, inverse, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    size = counts[inverse].to(points.dtype)
    weight = 1 / (size[:, None] * size[None] * counts.numel() ** 2)
    apart = torch.where(same, 1 - similarity, 0)
    near = torch.where(same, 0, (similarity - config.alpha).clamp_min(0))
    if config.penalty == "quadratic":
        apart, near = apart.square() / 2, near.square() / 2
    total: Tensor = (weight * (apart + config.negative * near)).sum()
    return total
