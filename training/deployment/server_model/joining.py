"""Joining clusters that are too close to be two instances, as `service.postprocess.joining` does.

Axes: E embedding, H W image, K clusters.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Limits(NamedTuple):
    """How close two clusters are that are one: ``below + rim * share - size * part``.

    Named here again: what runs inside Triton has PyTorch, and none of the gateway's modules.

    Parameters
    ----------
    below : float
        Distance of mean vectors.
    rim : float
        Weight of the share that they have in common of the shorter rim.
    size : float
        Weight of the size of the smaller as part of that of the middle cluster, 1 at most.
    """

    below: float
    rim: float
    size: float


def join(
    embedding: Tensor, labels: Tensor, centres: Tensor, limits: Limits, smallest: int
) -> Tensor:
    """Name clusters after the lowest one that they are one with.

    Parameters
    ----------
    embedding : (E, H, W) float32
        Pixel vectors.
    labels : (H, W) int64
        1..K, 0 where there is none.
    centres : (K, E) float32
        Of labels 1..K; where those have pixels, their means count.
    limits : Limits
        Which clusters are one.
    smallest : int
        Pixels of what counts as a cluster when the middle one is sought.

    Returns
    -------
    (K,) int64
        Indices of centres.
    """
    counts = torch.bincount(labels.ravel(), minlength=len(centres) + 1)[1:]
    taken = labels > 0
    sums = torch.zeros_like(centres).index_add_(0, labels[taken] - 1, embedding[:, taken].T)
    some = counts[:, None] > 0
    means = torch.where(some, sums / counts[:, None].clamp(min=1), centres)
    gaps = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    sizes = counts[counts >= smallest]
    middle = sizes.median() if sizes.numel() else counts.new_tensor(1)
    parts = (torch.minimum(counts[:, None], counts) / middle).clamp(max=1.0)
    most = limits.below + limits.rim * _shares(labels, len(centres)) - limits.size * parts
    names = list(range(len(centres)))
    close = (gaps < most) & some & some.T
    for low, high in close.triu(diagonal=1).nonzero().tolist():
        a, b = _root(names, low), _root(names, high)
        names[max(a, b)] = min(a, b)
    roots = [_root(names, k) for k in range(len(names))]
    return torch.tensor(roots, dtype=torch.int64, device=labels.device)  # also where there is none


def _shares(labels: Tensor, count: int) -> Tensor:
    """Return for each pair of labels what it has in common of the shorter rim, (K, K)."""
    shared = torch.zeros((count + 1, count + 1), dtype=torch.int64, device=labels.device)
    for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        edge = first != second
        codes = first[edge] * (count + 1) + second[edge]
        shared += torch.bincount(codes, minlength=shared.numel()).view_as(shared)
    shared = shared + shared.T
    rims = shared.sum(dim=1)[1:]
    return shared[1:, 1:] / torch.minimum(rims[:, None], rims).clamp(min=1)


def _root(names: list[int], k: int) -> int:
    while names[k] != k:
        k = names[k]
    return k
