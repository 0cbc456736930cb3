"""Joining clusters that are too close to be two instances, as `service.postprocess.joining` does.

Axes: H W image, P foreground pixels, K centres.
"""

from __future__ import annotations

import torch
from torch import Tensor


def join(
    owners: Tensor, strays: Tensor, mask: Tensor, centres: Tensor, *, below: float, border: float
) -> Tensor:
    """Give one owner to clusters whose centres are close and which touch along enough of their rim.

    Parameters
    ----------
    owners : (P,) int64
        Index of each pixel's centre.
    strays : (P,) bool
        Pixels that have none.
    mask : (H, W) bool
        Where the pixels are.
    centres : (K, E) float32
        Of the clusters.
    below : float
        Distance of centres under which two clusters may be one.
    border : float
        Share of the shorter rim that they must have in common.

    Returns
    -------
    (P,) int64
        The lowest of the clusters that became one.
    """
    close = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist") < below
    pairs = close.triu(diagonal=1).nonzero().cpu()
    if not len(pairs):
        return owners
    count = len(centres)
    labels = mask.new_zeros(mask.shape, dtype=torch.int64)
    labels[mask] = torch.where(strays, 0, owners + 1)
    shared = torch.zeros((count + 1, count + 1), dtype=torch.int64, device=mask.device)
    for first, second in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        edge = first != second
        codes = first[edge] * (count + 1) + second[edge]
        shared += torch.bincount(codes, minlength=shared.numel()).view_as(shared)
    shared = (shared + shared.T).cpu()
    rims = shared.sum(dim=1)
    names = list(range(count))
    for low, high in pairs.tolist():
        shorter = min(int(rims[low + 1]), int(rims[high + 1]))
        if int(shared[low + 1, high + 1]) >= border * shorter:
            a, b = _root(names, low), _root(names, high)
            names[max(a, b)] = min(a, b)
    roots = [_root(names, k) for k in range(count)]
    return torch.tensor(roots, device=owners.device)[owners]


def _root(names: list[int], k: int) -> int:
    while names[k] != k:
        k = names[k]
    return k
