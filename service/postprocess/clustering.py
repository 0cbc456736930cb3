"""Instances from pixel vectors: leaders on a sample, mean shift, exact nearest-centre assignment.

Where the loss of arXiv:1708.02551 has reached zero, the result is the paper's partition for every
bandwidth that its margins allow; where it has not, pixels go to the nearest centre.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float32, Floats, Int32
from service.postprocess import assign, seeds
from service.postprocess.decoded import Decoded, check, sample_step
from service.postprocess.joining import Limits, join
from service.postprocess.leaders import lead
from service.postprocess.planes import Planes, as_planes
from service.postprocess.scores import closeness

ROUNDS = 10
"""Steps of mean shift at most; a centre that starts in its cluster rests after two."""

REACH = 1.5
"""How far, in bandwidths, a pixel of a loose map may be from the centre that takes it in; else 1.

At zero loss a bandwidth is at least twice ``delta_var``, so that clusters lie within half of it
around their centres: such a map is tight, and another instance may begin one bandwidth away. In
loose ones 1.5 finds fewer pieces of objects beside them than 1 (validation data of the nuclei).
"""

FAR_OUT = 2.0
"""Up to how far, in bandwidths, a sample beside a dissolved cluster is one of its outliers.

Any closer to the gap of ``2 * delta_dist`` and it might be another instance.
"""

HOLLOW = 0.1
"""Share of the samples in the inner half of the balls under which clusters are dissolved.

In many dimensions noise lies on a shell around the centre; instances of single pixels, whose
neighbours are those of others, are dense in the middle.
"""

LOOSE = 0.01
"""Share of the samples farther than half a bandwidth from their centre that makes a map loose."""

APART = 0.75
"""How far apart, in bandwidths, two centres must be; those of two instances keep more than 1."""


def cluster(
    embedding: Floats,
    foreground: Bool,
    *,
    bandwidth: float,
    min_pixels: int,
    seed: int = 0,
) -> Int32:
    """Group foreground pixels into instances.

    Parameters
    ----------
    embedding : (E, H, W) float16 or float32
        Pixel vectors.
    foreground : (H, W) bool
        Pixels to group.
    bandwidth : float
        Radius of the flat mean-shift kernel, in embedding units.
    min_pixels : int
        Smallest instance to keep.
    seed : int
        Moves the lattice on which centres are looked for.

    Returns
    -------
    (H, W) int32
        0 background, else 1..K; the numbering is the same every time, but means nothing.

    Raises
    ------
    ValueError
        If the shapes disagree, or the bandwidth is not a positive finite number.

    Notes
    -----
    Pixels whose vector is not finite count as background. Same input, same labels, whatever the
    number of threads.

    Examples
    --------
    >>> x = np.array([[[-0.5, 0.5, 2.5, 3.5]]], dtype=np.float32)
    >>> cluster(x, np.ones((1, 4), dtype=bool), bandwidth=1.5, min_pixels=1)
    array([[1, 1, 2, 2]], dtype=int32)
    """
    labels, _ = _partition(
        embedding,
        foreground,
        np.empty((0, 0), np.float32),
        bandwidth=bandwidth,
        min_pixels=min_pixels,
        seed=seed,
    )
    return labels


def decode_discriminative(  # noqa: PLR0913 - the settings of a recipe
    embedding: Floats,
    foreground: Bool,
    *,
    bandwidth: float = 1.5,
    min_pixels: int = 1,
    join_below: float = 0.0,
    join_rim: float = 0.0,
    join_size: float = 0.0,
) -> Decoded:
    """Group foreground pixels as `cluster` does, and say how tight each group is.

    Parameters
    ----------
    embedding, foreground, bandwidth, min_pixels
        As `cluster` takes them.
    join_below, join_rim, join_size : float
        Which clusters are one instance (`service.postprocess.joining.Limits`): those with means
        closer than `join_below`, more with `join_rim`, fewer with `join_size`. 0 for `join_below`
        joins none. Where the loss has reached zero, nothing changes while `join_below` and
        `join_rim` add up to no more than its ``2 * delta_dist``.

    Returns
    -------
    Decoded
        Confidence is the mean of ``exp(-(d / bandwidth)^2)``, d the distance to the centre.

    Raises
    ------
    ValueError
        As `cluster` does.
    """
    distances2 = np.empty(foreground.shape, np.float32)
    labels, count = _partition(
        embedding,
        foreground,
        distances2,
        bandwidth=bandwidth,
        min_pixels=min_pixels,
        joining=Limits(join_below, join_rim, join_size) if join_below > 0 else None,
    )
    means = closeness(labels, distances2, count, np.float32(-1.0 / bandwidth**2))
    return Decoded(labels, np.clip(means, 0.0, 1.0))


def _partition(  # noqa: PLR0913 - the parameters of `cluster` and where to put distances
    embedding: Floats,
    foreground: Bool,
    distances2: Float32,
    *,
    bandwidth: float,
    min_pixels: int,
    seed: int = 0,
    joining: Limits | None = None,
) -> tuple[Int32, int]:
    """Return labels 1..K and K; write squared distances to centres, unless the array is empty."""
    check(embedding, foreground, bandwidth)
    planes = as_planes(embedding)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    smallest = max(min_pixels, 1)
    radius2 = np.float32(bandwidth**2)
    centres, reach2 = _centres(planes, mask, radius2, seed)
    labels = np.empty(mask.shape, np.int32)
    counts = assign.assign(planes, mask, centres, reach2, labels, distances2)
    if counts[0] >= smallest:
        missed = _missed(planes, labels, radius2, smallest)
        if missed.size:
            centres = np.concatenate((centres, missed), axis=1)
            counts = assign.assign(planes, mask, centres, reach2, labels, distances2)
    names = np.arange(counts.size, dtype=np.int32)
    if joining is not None:
        names, counts = join(planes, labels, counts, centres, joining, smallest)
    keep = counts >= smallest
    top = centres.shape[1]
    if counts[0] > 0 or not keep[1:].all():
        keep[0] = False
        top = assign.settle(planes, labels, distances2, centres, names, keep, reach2)
    return labels, top


def _centres(
    planes: Planes, mask: Bool, radius2: np.float32, seed: int
) -> tuple[Float32, np.float32]:
    """Return the centres ``[E, K]`` that a sample of the pixels shows, and their reach, squared."""
    step = sample_step(mask.size)
    samples, pixels, grid = seeds.gather(planes, mask, step, seed % (step * step))
    wide2 = radius2 * np.float32(REACH**2)
    # In dissolved clusters every pixel has others around it all the same; a sample has none.
    scattered = step > 1 and seeds.dissolved(planes, mask, samples, pixels, radius2)
    centres, support, core = _rest(samples, grid, wide2 if scattered else radius2)
    if scattered and not core.sum() < HOLLOW * support.sum():  # the clusters are solid after all
        scattered = False
        centres, support, core = _rest(samples, grid, radius2)
    loose = scattered or core.sum() < (1.0 - LOOSE) * support.sum()
    reach2 = wide2 if loose else radius2
    outlier2 = radius2 * np.float32(FAR_OUT**2) if scattered else reach2
    return seeds.merge(centres, support, radius2 * np.float32(APART**2), outlier2), reach2


def _rest(samples: Float32, grid: Int32, ball2: np.float32) -> tuple[Float32, Int32, Int32]:
    """Return where mean shift rests, how many samples lie around, and how many close by."""
    leaders, owners = lead(samples, grid, ball2)
    return seeds.shift(samples, owners, leaders, ball2, ROUNDS)


def _missed(planes: Planes, labels: Int32, radius2: np.float32, min_pixels: int) -> Float32:
    """Return centres ``[E, K]`` of instances that the sample has missed."""
    strays = labels == assign.STRAY
    if min_pixels > 1:
        strays = seeds.coherent(planes, strays, radius2)
    samples, _, grid = seeds.gather(planes, strays, 1, 0)
    centres, owners = lead(samples, grid, radius2)
    kept = np.bincount(owners, minlength=centres.shape[1]) >= min_pixels
    return np.ascontiguousarray(centres[:, kept])
