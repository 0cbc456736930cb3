"""Fitting an image to the sizes a network takes.

Padding goes to the right and below, so that the inverse is a crop and no coordinate changes:
``fitted[:H, :W]`` is the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from service.arrays import UInt8

Pixels = UInt8


def fit(pixels: Pixels, *, multiple: int, buckets: Sequence[int] = ()) -> Pixels:
    """Pad an image to a size that the network takes.

    Parameters
    ----------
    pixels : (H, W, 3) uint8
        H and W at least 1.
    multiple : int
        Both sides become multiples of this.
    buckets : sequence of int
        Sides to choose from (`fitted_side`), so that images of like size can share a batch.

    Returns
    -------
    (H', W', 3) uint8
        C-contiguous; `pixels` itself when it already is and nothing is to be padded. For a batch
        of one, ``fit(...)[None]`` is a view.

    Notes
    -----
    The padding mirrors the image about its last row and column, which it does not repeat; a side
    shorter than its padding is mirrored to and fro, and a side of one pixel is repeated. A mirrored
    border looks to the network like more of the same image; a black one would look like an edge.
    """
    height, width = _fitted_size(pixels, multiple=multiple, buckets=buckets)
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    fitted = np.empty((height, width, 3), np.uint8)
    _fill(fitted, pixels)
    return fitted


def fit_batch(images: Sequence[Pixels], *, multiple: int, buckets: Sequence[int] = ()) -> Pixels:
    """Pad images to one common size, each copied once into its place in the batch.

    Parameters
    ----------
    images : sequence of (H, W, 3) uint8
        One or more; sizes may differ.
    multiple, buckets
        As in `fit`, for the largest height and the largest width.

    Returns
    -------
    (N, H', W', 3) uint8
        C-contiguous; a view of an only image that needs no padding.
    """
    if len(images) == 1:
        return fit(images[0], multiple=multiple, buckets=buckets)[np.newaxis]
    sizes = [_fitted_size(pixels, multiple=multiple, buckets=buckets) for pixels in images]
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    batch = np.empty((len(images), height, width, 3), np.uint8)
    for place, pixels in zip(batch, images, strict=True):
        _fill(place, pixels)
    return batch


def fitted_side(side: int, *, multiple: int, buckets: Sequence[int] = ()) -> int:
    """Return the side to pad to.

    Parameters
    ----------
    side : int
        In pixels, at least 1.
    multiple : int
        The result is a multiple of this.
    buckets : sequence of int
        Multiples of `multiple`, in any order. The smallest that holds `side` is taken; a side
        beyond all of them goes to the next multiple, as if there were none.

    Raises
    ------
    ValueError
        If `side` or `multiple` is below 1.
    """
    if side < 1 or multiple < 1:
        raise ValueError(f"side {side} and multiple {multiple} must be 1 or more")
    return min((b for b in buckets if b >= side), default=-(-side // multiple) * multiple)


def _fitted_size(pixels: Pixels, *, multiple: int, buckets: Sequence[int]) -> tuple[int, int]:
    height, width = pixels.shape[:2]
    return (
        fitted_side(height, multiple=multiple, buckets=buckets),
        fitted_side(width, multiple=multiple, buckets=buckets),
    )


def _fill(place: Pixels, pixels: Pixels) -> None:
    """Write an image and its mirrored border into a larger array."""
    below, right = place.shape[0] - pixels.shape[0], place.shape[1] - pixels.shape[1]
    cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REFLECT_101, dst=place)
