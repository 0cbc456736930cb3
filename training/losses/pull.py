"""Means of instances, and how far their pixels are from them: the variance term in closed form.

Axes: P pixels, D embedding, G instances of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.losses.gather import piece_rows


def pull(
    pixels: Tensor, index: Tensor, counts: Tensor, *, margin: float, norm: int
) -> tuple[Tensor, Tensor]:
    """Average the pixels of every instance, and sum what separates them from the average.

    Parameters
    ----------
    pixels : (P, D) float
        Pixel vectors.
    index : (P,) int64
        Which instance each belongs to, 0..G-1.
    counts : (G,) int64
        Pixels per instance.
    margin : float
        Distances up to this cost nothing.
    norm : int
        1 or 2.

    Returns
    -------
    means : (G, D) float
        0 where an instance has no pixel.
    totals : (G,) float
        Sums over the pixels of ``max(distance to the mean - margin, 0) ** 2``.

    Notes
    -----
    Gradients flow through the means; a pixel that equals its mean has none. Half precision is
    summed in float32. Piece by piece: what autograd would keep of every step, five tensors of the
    size of `pixels`, costs several times as much as the arithmetic. The gradient cannot be
    differentiated again.
    """
    means, totals = _Pull.apply(  # type: ignore[no-untyped-call]  # torch: untyped
        pixels, index, counts, margin, norm
    )
    return means, totals


class _Pull(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pixels: Tensor, index: Tensor, counts: Tensor, margin: float, norm: int
    ) -> tuple[Tensor, Tensor]:
        precise = torch.promote_types(pixels.dtype, torch.float32)
        sizes = counts.clamp_min(1).to(precise)
        means = torch.zeros(len(counts), pixels.shape[1], dtype=precise, device=pixels.device)
        for rows, own in _pieces(pixels, index):
            means.index_add_(0, own, rows.to(precise))
        means /= sizes[:, None]
        totals, slopes = torch.zeros_like(sizes), torch.zeros_like(means)
        steepness = torch.empty(len(pixels), dtype=precise, device=pixels.device)
        for rows, own, steep in _pieces(pixels, index, steepness):
            gap = rows - means.index_select(0, own)
            distance = torch.linalg.vector_norm(gap, ord=norm, dim=1)
            beyond = (distance - margin).clamp_min_(0)
            totals.index_add_(0, own, beyond.square())
            steep.copy_(_steepness(beyond, distance, norm))
            slopes.index_add_(0, own, _downhill(gap, steep, norm))
        ctx.save_for_backward(pixels, index, sizes, means, steepness, slopes)
        ctx.norm = norm
        return means, totals

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_means: Tensor, of_totals: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        pixels, index, sizes, means, steepness, slopes = ctx.saved_tensors
        # Every pixel has its share in the mean, and moves with it all other pixels' distances.
        shared = (of_means - of_totals[:, None] * slopes) / sizes[:, None]
        gradient = torch.empty_like(pixels)
        for rows, own, steep, part in _pieces(pixels, index, steepness, gradient):
            gap = rows - means.index_select(0, own)
            direct = _downhill(gap, steep * of_totals.index_select(0, own), ctx.norm)
            part.copy_(direct.add_(shared.index_select(0, own)))
        return gradient, None, None, None, None


def _steepness(beyond: Tensor, distance: Tensor, norm: int) -> Tensor:
    """Give what the gap, or for norm 1 its signs, is to be multiplied by: the slope of beyond²."""
    if norm == 1:
        return 2 * beyond
    return (2 * beyond / distance).masked_fill_(distance == 0, 0)


def _downhill(gap: Tensor, steep: Tensor, norm: int) -> Tensor:
    """Turn gaps into slopes, in place."""
    return (gap.sign_() if norm == 1 else gap).mul_(steep[:, None])


def _pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Go through tensors of P rows together, the first of them (P, D)."""
    rows = piece_rows(tensors[0], tensors[0].shape[1])
    for start in range(0, len(tensors[0]), rows):
        yield tuple(tensor[start : start + rows] for tensor in tensors)
