"""Deep metric learning: masks grown around seeds that are good and far from one another.

Fathi et al. 2017 (arXiv:1703.10277).

Axes: E embedding, T thresholds, S samples, K seeds, H W image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from service.arrays import Bool, Float32, Floats, Int32
from service.compiled import kernel
from service.postprocess.decoded import Decoded, check, finish, sample_step
from service.postprocess.lookup import measure
from service.postprocess.planes import CHUNK, Planes, as_planes, load
from service.postprocess.seeds import coherent, gather

TAUS = (0.25, 0.5, 0.75, 0.9)
"""Similarities at which masks are grown, one seediness map each."""

FLOOR = np.float32(1e-12)
"""Seediness and distance are not taken to be smaller than this in logarithms."""

REPEATED = 0.5
"""A seed is dropped when more than this share of its mask belongs to better seeds."""


class Seeds(NamedTuple):
    """Chosen pixels, best first.

    Parameters
    ----------
    vectors : (E, K) float32
        Their embeddings.
    radii2 : (K,) float32
        Squared radii of their masks.
    quality : (K,) float32
        Their seediness.
    """

    vectors: Float32
    radii2: Float32
    quality: Float32


def radius2_of(tau: float) -> float:
    """Return the squared distance at which the similarity ``2 / (1 + exp(d^2))`` is `tau`."""
    return float(np.log(2.0 / tau - 1.0))


def decode_metric_learning(
    embedding: Floats,
    foreground: Bool,
    seediness: Floats,
    *,
    alpha: float = 0.3,
    max_seeds: int = 512,
    min_pixels: int = 1,
) -> Decoded:
    """Group foreground pixels around diverse seeds.

    Parameters
    ----------
    embedding : (E, H, W) float16 or float32
        Pixel vectors.
    foreground : (H, W) bool
        Pixels to group.
    seediness : (T, H, W) float16 or float32
        Logits of being a good seed for a mask grown at each of `TAUS`.
    alpha : float
        Weight of diversity against seediness.
    max_seeds : int
        Seeds at most; no more are drawn once every sample lies in a mask.
    min_pixels : int
        Smallest instance to keep.

    Returns
    -------
    Decoded
        Confidence is the seediness of the instance's seed.

    Raises
    ------
    ValueError
        If the shapes disagree.

    Notes
    -----
    A pixel goes to the best seed whose mask holds it, else to the nearest seed within the radius of
    the loosest threshold, else to the background.
    """
    check(embedding, foreground, 1.0)
    if seediness.shape != (len(TAUS), *foreground.shape):
        raise ValueError(f"seediness is {seediness.shape}, one map for each of {TAUS} was expected")
    planes = as_planes(embedding)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    reach2 = np.float32(radius2_of(TAUS[0]))
    step = sample_step(mask.size)
    chosen = _choose(planes, mask, seediness, step, alpha, max_seeds)
    labels = paint(planes, mask, chosen, reach2)
    missed = mask & (labels == 0)
    if step > 1 and missed.any():  # what the lattice has not met
        missed = coherent(planes, missed, reach2) if min_pixels > 1 else missed
        more = _choose(planes, missed, seediness, 1, alpha, max_seeds)
        chosen = Seeds(*(np.concatenate(pair, axis=-1) for pair in zip(chosen, more, strict=True)))
        labels = paint(planes, mask, chosen, reach2)
    return finish(labels, chosen.quality, min_pixels)


def _choose(
    planes: Planes,
    mask: Bool,
    seediness: Floats,
    step: int,
    alpha: float,
    max_seeds: int,
) -> Seeds:
    """Draw seeds from a lattice of the mask and drop the repeated ones."""
    samples, pixels, _ = gather(planes, mask, step, 0)
    y, x = np.divmod(pixels, max(mask.shape[1], 1))
    logits = np.nan_to_num(seediness[:, y, x].astype(np.float32), nan=-np.inf)
    quality = 1.0 / (1.0 + np.exp(-np.clip(logits.max(axis=0), -80.0, 80.0)))
    radii2 = np.array([radius2_of(tau) for tau in TAUS], np.float32)[logits.argmax(axis=0)]
    order = diverse(samples, quality, radii2, np.float32(alpha), max_seeds)
    order = order[np.argsort(-quality[order], kind="stable")]
    kept = order[_fresh(samples, order, radii2, np.float32(REPEATED))]
    return Seeds(np.ascontiguousarray(samples[:, kept]), radii2[kept], quality[kept])


@kernel
def diverse(
    samples: Float32, quality: Float32, radii2: Float32, alpha: np.float32, most: int
) -> Int32:
    """Return samples in the order of ``log quality + alpha * log D``, D the gap² to those before.

    Ends when `most` are chosen or every sample lies within the radius of a chosen one.
    """
    size, total = samples.shape
    chosen = np.empty(min(most, total), np.int32)
    worth = np.log(np.maximum(quality, FLOOR))
    gap2 = np.full(total, np.inf, np.float32)
    d2, vector = np.empty(total, np.float32), np.empty(size, np.float32)
    free = np.ones(total, np.bool_)
    open_left = np.ones(total, np.bool_)
    at = int(np.argmax(worth)) if total > 0 else 0
    for count in range(chosen.size):
        chosen[count] = at
        free[at] = False
        vector[:] = samples[:, at]
        measure(samples, vector, 0, total, d2)
        still = False
        best = -np.float32(np.inf)
        following = -1
        for s in range(total):
            gap2[s] = min(gap2[s], d2[s])
            open_left[s] &= d2[s] > radii2[at]
            still |= open_left[s]
            if free[s]:
                value = worth[s] + alpha * np.log(max(gap2[s], FLOOR))
                if value > best:
                    best, following = value, s
        if not still or following < 0:
            return chosen[: count + 1]
        at = following
    return chosen


@kernel
def _fresh(samples: Float32, order: Int32, radii2: Float32, repeated: np.float32) -> Bool:
    """Tell which seeds, best first, have a mask that is not mostly taken."""
    size, total = samples.shape
    fresh = np.zeros(order.size, np.bool_)
    taken = np.zeros(total, np.bool_)
    d2, vector = np.empty(total, np.float32), np.empty(size, np.float32)
    for k in range(order.size):
        vector[:] = samples[:, order[k]]
        measure(samples, vector, 0, total, d2)
        inside, old = 0, 0
        for s in range(total):
            hit = d2[s] <= radii2[order[k]]
            inside += hit
            old += hit and taken[s]
        if old > repeated * inside:
            continue
        fresh[k] = True
        for s in range(total):
            taken[s] |= d2[s] <= radii2[order[k]]
    return fresh


@kernel
def paint(planes: Planes, mask: Bool, chosen: Seeds, reach2: np.float32) -> Int32:
    """Return 1 + the first seed whose mask holds the pixel, else the nearest in reach, else 0."""
    height, width = mask.shape
    size, total = chosen.vectors.shape
    labels = np.zeros((height, width), np.int32)
    chunk = np.empty((size, CHUNK), np.float32)
    d2, vector = np.empty(CHUNK, np.float32), np.empty(size, np.float32)
    best2 = np.empty(CHUNK, np.float32)
    owner = np.empty(CHUNK, np.int32)
    for y in range(height):
        for x in range(0, width, CHUNK):
            n = min(CHUNK, width - x)
            gate = mask[y, x : x + n]
            here = labels[y, x : x + n]
            left = 0
            for p in range(n):
                left += gate[p]
            if left == 0:
                continue
            load(planes, y, x, n, chunk)
            best2[:] = reach2
            owner[:] = 0
            for k in range(total):
                vector[:] = chosen.vectors[:, k]
                measure(chunk, vector, 0, n, d2)
                left = 0
                for p in range(n):
                    hit = here[p] == 0 and d2[p] <= chosen.radii2[k]
                    here[p] = k + 1 if hit else here[p]
                    near = d2[p] < best2[p] or (owner[p] == 0 and d2[p] <= best2[p])
                    best2[p] = d2[p] if near else best2[p]
                    owner[p] = k + 1 if near else owner[p]
                    left += gate[p] and here[p] == 0
                if left == 0:
                    break
            for p in range(n):
                here[p] = (owner[p] if here[p] == 0 else here[p]) if gate[p] else 0
    return labels
