"""Instances from pixel vectors: leaders on a sample, mean shift, exact nearest-centre assignment.

Where the loss of arXiv:1708.02551 has reached zero, the result is the paper's partition for every
bandwidth that its margins allow; where it has not, pixels go to the nearest centre.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from service.postprocess import assign, regions, seeds
from service.postprocess.planes import FloatArray, Planes, as_planes

ROUNDS = 10
"""Steps of mean shift at most; a centre that starts in its cluster rests after two."""

REACH = 4.0 / 3.0
"""How far, in bandwidths, a pixel may be from the centre that takes it in as a stray.

With the paper's margins (0.5, 1.5) and its bandwidth of 1.5, just short of what another instance's
pixels keep from the centre: 2 * 1.5 - 2 * 0.5.
"""


@dataclass(frozen=True, slots=True)
class Clusters:
    """A partition and how tight it is.

    Parameters
    ----------
    labels : (H, W) int32
        0 background, else 1..K by first pixel in raster order.
    distances2 : (H, W) float32
        Squared distance of each labelled pixel to its centre; elsewhere undefined.
    count : int
        K.
    """

    labels: npt.NDArray[np.int32]
    distances2: npt.NDArray[np.float32]
    count: int


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
        0 background, else 1..K, numbered by first pixel in raster order.

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
    return find_clusters(
        embedding,
        foreground,
        bandwidth=bandwidth,
        min_pixels=min_pixels,
        seed=seed,
        split_disconnected=split_disconnected,
    ).labels


def find_clusters(
    embedding: FloatArray,
    foreground: npt.NDArray[np.bool_],
    *,
    bandwidth: float,
    min_pixels: int,
    seed: int = 0,
    split_disconnected: bool = False,
) -> Clusters:
    """Group foreground pixels and keep their distances; see `cluster`.

    Raises
    ------
    ValueError
        As `cluster` does.
    """
    if embedding.shape[1:] != foreground.shape:
        raise ValueError(
            f"embedding {embedding.shape} and foreground {foreground.shape} differ in size"
        )
    if not 0.0 < bandwidth < float(np.sqrt(seeds.FAR)) / 4:
        raise ValueError(f"bandwidth must be a positive number, not {bandwidth}")
    planes = as_planes(embedding)
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    radius2 = np.float32(bandwidth) ** 2
    centres = _centres(planes, mask, radius2, seed)
    labels = np.empty(mask.shape, np.int32)
    distances2 = assign.assign(planes, mask, centres, radius2, labels)
    centres, distances2 = _admit_strays(
        planes, mask, centres, radius2, labels, distances2, min_pixels
    )
    counts = regions.areas(labels, centres.shape[1])
    keep = counts[1:] >= max(min_pixels, 1)
    assign.settle(planes, labels, distances2, centres, keep, radius2 * np.float32(REACH**2))
    if split_disconnected:
        top = regions.split(labels)
        counts = regions.areas(labels, top)
    else:
        counts = regions.areas(labels, centres.shape[1])
    return Clusters(labels, distances2, regions.tidy(labels, counts, max(min_pixels, 1)))


def _centres(
    planes: Planes, mask: npt.NDArray[np.bool_], radius2: np.float32, seed: int
) -> npt.NDArray[np.float32]:
    """Return the centres ``[E, K]`` that a sample of the pixels shows."""
    step = min(4, max(1, isqrt(mask.size // 4096)))
    samples, grid = seeds.gather(planes, mask, step, seed % (step * step))
    centres, _ = seeds.lead(samples, grid, radius2)
    support = seeds.shift(samples, centres, radius2, ROUNDS)
    return seeds.merge(centres, support, radius2 / np.float32(4.0))


def _admit_strays(
    planes: Planes,
    mask: npt.NDArray[np.bool_],
    centres: npt.NDArray[np.float32],
    radius2: np.float32,
    labels: npt.NDArray[np.int32],
    distances2: npt.NDArray[np.float32],
    min_pixels: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Open centres for instances that the sample missed, and assign again if there are any."""
    strays = labels == assign.STRAY
    if not strays.any():
        return centres, distances2
    if min_pixels > 1:
        strays = seeds.coherent(planes, strays, radius2)
    samples, grid = seeds.gather(planes, strays, 1, 0)
    more, owners = seeds.lead(samples, grid, radius2)
    more = more[:, np.bincount(owners, minlength=more.shape[1]) >= min_pixels]
    if more.size == 0:
        return centres, distances2
    centres = np.ascontiguousarray(np.concatenate((centres, more), axis=1))
    return centres, assign.assign(planes, mask, centres, radius2, labels)
