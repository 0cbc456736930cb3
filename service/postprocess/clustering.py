"""Instances from pixel vectors: leaders on a sample, mean shift, exact nearest-centre assignment.

Where the loss of arXiv:1708.02551 has reached zero, the result is the paper's partition for every
bandwidth that its margins allow; where it has not, pixels go to the nearest centre.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.postprocess import assign, regions, seeds
from service.postprocess.decoded import Decoded, Float32, check, sample_step
from service.postprocess.joining import join
from service.postprocess.planes import FloatArray, Planes, as_planes
from service.postprocess.scores import closeness

ROUNDS = 10
"""Steps of mean shift at most; a centre that starts in its cluster rests after two."""

REACH = 4.0 / 3.0
"""How far, in bandwidths, a pixel may be from the centre that takes it in as a stray.

With the paper's margins (0.5, 1.5) and its bandwidth of 1.5, just short of what another instance's
pixels keep from the centre: 2 * 1.5 - 2 * 0.5.
"""


def cluster(
    embedding: FloatArray,
    foreground: npt.NDArray[np.bool_],
    *,
    bandwidth: float,
    min_pixels: int,
    seed: int = 0,
    split_disconnected: bool = False,
) -> npt.NDArray[np.int32]:
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
    split_disconnected : bool
        Make every 8-connected part an instance of its own.

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
        split_disconnected=split_disconnected,
    )
    return labels


def decode_discriminative(  # noqa: PLR0913 - the settings of a recipe
    embedding: FloatArray,
    foreground: npt.NDArray[np.bool_],
    *,
    bandwidth: float = 1.5,
    min_pixels: int = 1,
    split_disconnected: bool = False,
    join_below: float = 0.0,
    join_border: float = 0.0,
) -> Decoded:
    """Group foreground pixels as `cluster` does, and say how tight each group is.

    Parameters
    ----------
    embedding, foreground, bandwidth, min_pixels, split_disconnected
        As `cluster` takes them.
    join_below, join_border : float
        Clusters with centres closer than `join_below` that share at least `join_border` of the
        shorter rim are one instance (`service.postprocess.joining`); 0 joins none. Where the loss
        has reached zero, nothing changes with `join_below` up to its ``2 * delta_dist``.

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
        split_disconnected=split_disconnected,
        join_below=join_below,
        join_border=join_border,
    )
    means = closeness(labels, distances2, count, np.float32(-1.0 / bandwidth**2))
    return Decoded(labels, np.clip(means, 0.0, 1.0))


def _partition(  # noqa: PLR0913 - the parameters of `cluster` and where to put distances
    embedding: FloatArray,
    foreground: npt.NDArray[np.bool_],
    distances2: Float32,
    *,
    bandwidth: float,
    min_pixels: int,
    seed: int = 0,
    split_disconnected: bool = False,
    join_below: float = 0.0,
    join_border: float = 0.0,
) -> tuple[npt.NDArray[np.int32], int]:
    """Return labels 1..K and K; write squared distances to centres, unless the array is empty."""
    check(embedding, foreground, bandwidth)
    planes = as_planes(embedding)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    smallest = max(min_pixels, 1)
    radius2 = np.float32(bandwidth**2)
    centres = _centres(planes, mask, radius2, seed)
    labels = np.empty(mask.shape, np.int32)
    counts = assign.assign(planes, mask, centres, radius2, labels, distances2)
    if counts[0] > 0:
        missed = _missed(planes, labels, radius2, smallest)
        if missed.size:
            centres = np.concatenate((centres, missed), axis=1)
            counts = assign.assign(planes, mask, centres, radius2, labels, distances2)
    if join_below > 0:
        counts = join(labels, counts, centres, below=join_below, border=join_border)
    keep = counts[1:] >= smallest
    if counts[0] > 0 or not keep.all():
        reach2 = radius2 * np.float32(REACH**2)
        assign.settle(planes, labels, distances2, centres, keep, reach2)
    top = centres.shape[1]
    if split_disconnected:
        top = regions.split(labels)
    elif keep.all():
        return labels, top
    return labels, regions.tidy(labels, regions.areas(labels, top), smallest)


def _centres(
    planes: Planes, mask: npt.NDArray[np.bool_], radius2: np.float32, seed: int
) -> Float32:
    """Return the centres ``[E, K]`` that a sample of the pixels shows."""
    step = sample_step(mask.size)
    samples, _, grid = seeds.gather(planes, mask, step, seed % (step * step))
    leaders, owners = seeds.lead(samples, grid, radius2)
    centres, support = seeds.shift(samples, owners, leaders, radius2, ROUNDS)
    return seeds.merge(centres, support, radius2 / np.float32(4.0))


def _missed(
    planes: Planes, labels: npt.NDArray[np.int32], radius2: np.float32, min_pixels: int
) -> Float32:
    """Return centres ``[E, K]`` of instances that the sample has missed."""
    strays = labels == assign.STRAY
    if min_pixels > 1:
        strays = seeds.coherent(planes, strays, radius2)
    samples, _, grid = seeds.gather(planes, strays, 1, 0)
    centres, owners = seeds.lead(samples, grid, radius2)
    kept = np.bincount(owners, minlength=centres.shape[1]) >= min_pixels
    return np.ascontiguousarray(centres[:, kept])
