"""Chosen pixels of maps as rows, and their gradients back in the layout of the maps.

Axes: B images, D channels, P chosen pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIECE = 1 << 18
"""Numbers that are worked on at a time: a MiB of float32, which a processor keeps close."""


def piece_rows(like: Tensor, columns: int) -> int:
    """Tell how many rows of `columns` numbers to work on at a time.

    Parameters
    ----------
    like : tensor
        Where it lies decides: a GPU, which waits for every launch, takes all at once.
    columns : int
        Numbers in a row.
    """
    rows = _PIECE if like.device.type == "cpu" else 1 << 31
    return max(rows // max(columns, 1), 1)


def gather_pixels(maps: Tensor, where: Tensor) -> Tensor:
    """Take pixels out of maps.

    Parameters
    ----------
    maps : (B, D, H, W) float
        In any memory format.
    where : (P,) int64
        Positions in the flattened batch, ``b * H * W + y * W + x``, ascending, each at most once.

    Returns
    -------
    (P, D) float
        Rows of channels.

    Notes
    -----
    The same as ``maps.permute(0, 2, 3, 1).reshape(-1, D)[where]``, without a copy of the batch in
    either direction: on a CPU, memory that is touched for the first time is what costs. The
    gradient cannot be differentiated again.
    """
    rows: Tensor = _Gather.apply(maps, where)  # type: ignore[no-untyped-call]  # torch: untyped
    return rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, where: Tensor) -> Tensor:
        ctx.save_for_backward(where)
        # Of no size, but of the layout: the gradient shall have it, too.
        ctx.like = torch.empty_like(maps, device="meta")
        rows = maps.new_empty((where.numel(), maps.shape[1]))
        for pixels, chosen, part in _pieces(maps, where):
            if len(chosen) == len(pixels):
                rows[part] = pixels
            else:
                torch.index_select(pixels.contiguous(), 0, chosen, out=rows[part])
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (where,) = ctx.saved_tensors
        maps = torch.empty_like(ctx.like, device=gradient.device)
        for pixels, chosen, part in _pieces(maps, where):
            if len(chosen) == len(pixels):
                pixels.copy_(gradient[part])
            else:
                pixels.zero_().index_copy_(0, chosen, gradient[part])
        return maps, None


def _pieces(maps: Tensor, where: Tensor) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Go through the pixels of the batch: at once where they are rows, else never across images.

    Yields
    ------
    pixels : (n, D)
        A view of `maps`.
    chosen : (p,) int64
        Which of them `where` names.
    part : slice
        Where these stand in `where`.
    """
    batch, channels = maps.shape[:2]
    if maps.is_contiguous(memory_format=torch.channels_last):
        yield maps.permute(0, 2, 3, 1).view(-1, channels), where, slice(None)
        return
    per_image = maps[0, 0].numel()
    rows = piece_rows(maps, channels)
    starts = [(image, start) for image in range(batch) for start in range(0, per_image, rows)]
    firsts = torch.tensor([image * per_image + start for image, start in starts] + [maps.numel()])
    bounds = torch.searchsorted(where, firsts.to(where.device)).tolist()
    for (image, start), first, low, high in zip(
        starts, firsts.tolist(), bounds, bounds[1:], strict=False
    ):
        pixels = maps[image].flatten(1).T[start : start + rows]
        yield pixels, where[low:high] - first, slice(low, high)
