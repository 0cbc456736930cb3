"""Recurrent pixel embedding: mean shift on the sphere, from seeds that lie far apart.

Kong and Fowlkes 2018 (arXiv:1712.08273) for kernel and sphere; farthest-point seeds give every
group a start, however small it is.

Axes: E embedding, S samples, Z seeds, M modes, H W image.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float32, Float64, Floats, Int32
from service.compiled import kernel
from service.postprocess.decoded import Decoded, check, finish, sample_step
from service.postprocess.exponential import exp32
from service.postprocess.planes import CHUNK, Planes, as_planes, load
from service.postprocess.seeds import gather


def decode_recurrent(
    embedding: Floats,
    foreground: Bool,
    *,
    kappa: float = 20.0,
    merge: float = 0.04,
    max_seeds: int = 512,
    rounds: int = 10,
    min_pixels: int = 1,
) -> Decoded:
    """Group foreground pixels by the direction of their vectors.

    Parameters
    ----------
    embedding : (E, H, W) float16 or float32
        Vectors of any length but zero.
    foreground : (H, W) bool
        Pixels to group.
    kappa : float
        Concentration of the kernel ``exp(kappa * (cosine - 1))``.
    merge : float
        Modes this near to each other, in half-cosine distance ``(1 - cosine) / 2``, are one.
    max_seeds : int
        Seeds at most; no more are drawn once every sample is within `merge` of one.
    rounds : int
        Steps of mean shift.
    min_pixels : int
        Smallest instance to keep.

    Returns
    -------
    Decoded
        Confidence is the mean cosine to the mode.

    Raises
    ------
    ValueError
        If the shapes disagree, or `kappa` is not a positive number.
    """
    check(embedding, foreground, kappa)
    planes = as_planes(embedding)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    samples, _, _ = gather(planes, mask, sample_step(mask.size), 0)
    norms = np.linalg.norm(samples, axis=0)
    samples = np.ascontiguousarray(samples[:, norms > 0.0] / norms[norms > 0.0])
    seeds = farthest_points(samples, max_seeds, np.float32(merge))
    modes = shift_on_sphere(samples, seeds, np.float32(kappa), rounds)
    modes = merge_modes(modes, np.float32(merge))
    labels, cosines = _assign(planes, mask, modes)
    return finish(labels, cosines, min_pixels)


@kernel
def farthest_points(samples: Float32, most: int, spread: np.float32) -> Float32:
    """Return unit vectors ``[E, Z]``: the first sample, then always the one farthest from all."""
    size, total = samples.shape
    chosen = np.empty((size, min(most, total)), np.float32)
    nearest = np.full(total, -np.inf, np.float32)  # largest cosine to a chosen one
    cosine = np.empty(total, np.float32)
    count, at = 0, 0
    while count < chosen.shape[1]:
        chosen[:, count] = samples[:, at]
        cosine[:] = np.float32(0.0)
        for e in range(size):
            value = samples[e, at]
            row = samples[e]
            for s in range(total):
                cosine[s] += row[s] * value
        count += 1
        for s in range(total):
            nearest[s] = max(nearest[s], cosine[s])
        at = int(np.argmin(nearest))
        if np.float32(0.5) * (np.float32(1.0) - nearest[at]) <= spread:
            break
    return chosen[:, :count].copy()


@kernel
def shift_on_sphere(samples: Float32, seeds: Float32, kappa: np.float32, rounds: int) -> Float32:
    """Move each seed to the weighted mean direction of the samples around it."""
    size, total = samples.shape
    modes = seeds.copy()
    weights = np.empty(total, np.float32)
    mean = np.empty(size, np.float32)
    for z in range(modes.shape[1]):
        for _ in range(rounds):
            weights[:] = -kappa
            for e in range(size):
                value = kappa * modes[e, z]
                row = samples[e]
                for s in range(total):
                    weights[s] += row[s] * value
            for s in range(total):
                weights[s] = exp32(weights[s])
            norm = np.float32(0.0)
            for e in range(size):
                row = samples[e]
                summed = np.float32(0.0)
                for s in range(total):
                    summed += row[s] * weights[s]
                mean[e] = summed
                norm += summed * summed
            if not norm > np.float32(0.0):
                break
            moved = np.float32(0.0)
            for e in range(size):
                value = mean[e] / np.sqrt(norm)
                moved += (value - modes[e, z]) ** 2
                modes[e, z] = value
            if moved < np.float32(1e-10):
                break
    return modes


@kernel
def merge_modes(modes: Float32, spread: np.float32) -> Float32:
    """Return one mean direction for each connected component of modes within `spread`."""
    size, total = modes.shape
    group = np.full(total, -1, np.int32)
    stack = np.empty(total, np.int32)
    merged = np.zeros((size, total), np.float32)
    count = 0
    for first in range(total):
        if group[first] >= 0:
            continue
        stack[0] = first
        group[first] = count
        left = 1
        while left > 0:
            left -= 1
            z = stack[left]
            for e in range(size):
                merged[e, count] += modes[e, z]
            for other in range(total):
                if group[other] >= 0:
                    continue
                cosine = np.float32(0.0)
                for e in range(size):
                    cosine += modes[e, z] * modes[e, other]
                if np.float32(0.5) * (np.float32(1.0) - cosine) <= spread:
                    group[other] = count
                    stack[left] = other
                    left += 1
        norm = np.float32(0.0)
        for e in range(size):
            norm += merged[e, count] ** 2
        for e in range(size):
            merged[e, count] /= max(np.sqrt(norm), np.float32(1e-12))
        count += 1
    return merged[:, :count].copy()


@kernel
def _assign(planes: Planes, mask: Bool, modes: Float32) -> tuple[Int32, Float64]:
    """Return 1 + the mode of the largest cosine, the first on a tie, and each mode's mean."""
    height, width = mask.shape
    size, total = modes.shape
    labels = np.zeros((height, width), np.int32)
    sums = np.zeros(total + 1, np.float64)
    pixels = np.zeros(total + 1, np.int64)
    chunk = np.empty((size, CHUNK), np.float32)
    product = np.empty(CHUNK, np.float32)
    best = np.empty(CHUNK, np.float32)
    owner = np.empty(CHUNK, np.int32)
    for y in range(height):
        for x in range(0, width, CHUNK):
            n = min(CHUNK, width - x)
            if not mask[y, x : x + n].any():
                continue
            load(planes, y, x, n, chunk)
            best[:] = -np.float32(np.inf)
            owner[:] = 0
            for m in range(total):
                product[:] = np.float32(0.0)
                for e in range(size):
                    value = modes[e, m]
                    row = chunk[e]
                    for p in range(n):
                        product[p] += row[p] * value
                for p in range(n):
                    better = product[p] > best[p]
                    best[p] = product[p] if better else best[p]
                    owner[p] = m + 1 if better else owner[p]
            product[:] = np.float32(0.0)
            for e in range(size):
                row = chunk[e]
                for p in range(n):
                    product[p] += row[p] * row[p]
            for p in range(n):
                if mask[y, x + p] and np.float32(0.0) < product[p] < np.inf:
                    labels[y, x + p] = owner[p]
                    sums[owner[p]] += best[p] / np.sqrt(product[p])
                    pixels[owner[p]] += 1
    return labels, sums[1:] / np.maximum(pixels[1:], 1)
