"""Sums over instances without a loop over instances.

Axes: B images, C most instances in one image, P foreground pixels of the batch, D embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from training.losses.gather import gather_pixels


@dataclass(frozen=True, slots=True)
class Segments:
    """The instance pixels of a batch, and which instance each belongs to.

    Parameters
    ----------
    pixels : (P, D) float
        Embeddings of instance pixels.
    index : (P,) int64
        ``b * C + k`` of the instance, k counting from 0 within the image.
    flat : (P,) int64
        Position of the pixel in the flattened batch, ``b * H * W + y * W + x``.
    counts : (B, C) int64
        Pixels per instance, 0 where an image has fewer than C instances.
    """

    pixels: Tensor
    index: Tensor
    flat: Tensor
    counts: Tensor

    @property
    def valid(self) -> Tensor:
        """(B, C) bool: instances that exist."""
        return self.counts > 0

    def total(self, values: Tensor) -> Tensor:
        """Sum per-pixel values (P, ...) over each instance, giving (B, C, ...)."""
        batch, most = self.counts.shape
        shape = (batch * most, *values.shape[1:])
        sums = values.new_zeros(shape).index_add(0, self.index, values)
        return sums.view(batch, most, *values.shape[1:])

    def mean(self, values: Tensor) -> Tensor:
        """Average per-pixel values (P, ...) over each instance, giving (B, C, ...)."""
        total = self.total(values)
        counts = self.counts.clamp_min(1).to(values.dtype)
        return total / counts.view(*counts.shape, *([1] * (values.dim() - 1)))

    def spread(self, values: Tensor) -> Tensor:
        """Hand per-instance values (B, C, ...) back to the pixels, giving (P, ...)."""
        return values.flatten(0, 1).index_select(0, self.index)


def segment(embedding: Tensor, labels: Tensor) -> Segments:
    """Gather the instance pixels of a batch.

    Parameters
    ----------
    embedding : (B, D, H, W) float
        Pixel vectors.
    labels : (B, H, W) int64
        Positive values are instances; all others are left out. Ids need not be consecutive.
    """
    batch = embedding.shape[0]
    if labels.shape != (batch, *embedding.shape[2:]):
        raise ValueError(f"labels {tuple(labels.shape)} for embedding {tuple(embedding.shape)}")
    where = torch.nonzero(labels.flatten() > 0).squeeze(1)
    index, most = _number(labels, where)
    counts = torch.bincount(index, minlength=batch * most).view(batch, most)
    return Segments(gather_pixels(embedding, where), index, where, counts)


def by_image(segments: Segments, chosen: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Part chosen pixels by their image: all pairs of one image fit the memory, of a batch not.

    Parameters
    ----------
    segments : Segments
        Of the batch.
    chosen : (S,) int64
        Positions into its pixels.

    Yields
    ------
    image : int
        One that has a chosen pixel, ascending.
    mine : (N,) int64
        Those of `chosen` that lie in it.
    """
    most = segments.counts.shape[1]
    image = torch.div(segments.index[chosen], most, rounding_mode="floor")
    for number in torch.unique(image).tolist():
        yield number, chosen[image == number]


def _number(labels: Tensor, where: Tensor) -> tuple[Tensor, int]:
    """Give numbers 0..C-1 to the instances of each image, in ascending order of their ids."""
    if where.numel() == 0:
        return where, 1
    batch, stretch = labels.shape[0], int(labels.max()) + 1
    offsets = stretch * torch.arange(batch, device=labels.device)
    keys, inverse = _unique(
        (labels.flatten(1) + offsets[:, None]).flatten()[where], batch * stretch
    )
    owner = torch.div(keys, stretch, rounding_mode="floor")
    per_image = torch.bincount(owner)
    first = per_image.cumsum(0) - per_image
    rank = torch.arange(keys.numel(), device=keys.device) - first[owner]
    most = int(per_image.max())
    return (owner * most + rank)[inverse], most


def _unique(keys: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Find the distinct keys 0..size-1, ascending, and the place of every key among them."""
    if size > max(keys.numel(), 1 << 16):
        distinct, places = torch.unique(keys, return_inverse=True)
        return distinct, places
    # Ids that lie close together are counted, a tenth of the time that sorting takes.
    present = torch.bincount(keys, minlength=size) > 0
    return present.nonzero().squeeze(1), (present.cumsum(0) - 1)[keys]


def sample(groups: Tensor, per_group: int, generator: torch.Generator) -> Tensor:
    """Draw up to `per_group` members of every group, without a loop over groups.

    Parameters
    ----------
    groups : (P,) int64
        Group of each member.
    per_group : int
        Most members to draw from one group.
    generator : Generator
        Source of chance.

    Returns
    -------
    (S,) int64
        Positions into `groups`, ordered by group.
    """
    keys = torch.rand(groups.shape, generator=generator).to(groups.device)
    order = torch.argsort(keys)
    order = order[torch.argsort(groups[order], stable=True)]
    ordered = groups[order]
    _, counts = torch.unique_consecutive(ordered, return_counts=True)
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    rank = torch.arange(ordered.numel(), device=groups.device) - first
    return order[rank < per_group]
