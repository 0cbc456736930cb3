"""From instances at the scale that the network saw to instances of the image.

Axes: H W image, h w as the network saw it, K instances.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from service.arrays import Int32
from service.compiled import kernel
from service.postprocess.labelled import ExtractOptions, Labelled, chosen
from service.postprocess.regions import areas

TIE = 1e-9
"""Weights that differ by less do so by rounding."""


def options_at(
    options: ExtractOptions, size: tuple[int, int], seen: tuple[int, int]
) -> ExtractOptions:
    """Return what is asked of an image as it is asked of what the network saw of it.

    Parameters
    ----------
    options : ExtractOptions
        Its smallest area is in pixels of the image.
    size, seen : tuple of int
        ``(H, W)`` of the image and ``(h, w)`` that the network saw.
    """
    if options.min_area is None or size == seen:
        return options
    # Rounded down: `at_size` counts the pixels of the image.
    area = options.min_area * seen[0] * seen[1] // (size[0] * size[1])
    return replace(options, min_area=area)


def at_size(found: Labelled, size: tuple[int, int], min_area: int | None) -> Labelled:
    """Bring instances to the size of the image.

    Parameters
    ----------
    found : Labelled
        Labels (h, w).
    size : tuple of int
        ``(H, W)`` of the image.
    min_area : int, optional
        Smallest instance, in pixels of the image.

    Returns
    -------
    Labelled
        `found` itself when it has that size and nothing in it is too small. At another size every
        pixel takes the label to which bilinear interpolation gives most of its weight, which takes
        the corners off stairs. What has no pixel left is gone, too, and numbers close up.
    """
    if found.labels.shape != size:
        found = replace(found, labels=_resized(found.labels, size[0], size[1]))
    elif min_area is None:
        return found
    keep = areas(found.labels, found.scores.size)[1:] >= max(min_area or 1, 1)
    return found if keep.all() else chosen(found, np.flatnonzero(keep))


@kernel
def _resized(labels: Int32, height: int, width: int) -> Int32:
    """Return labels (h, w) at (H, W): of the four around a pixel's centre, the weightiest.

    On a tie an object, so that none is shifted; of two objects the one nearer to the top left.
    """
    rows, columns = labels.shape
    resized = np.empty((height, width), np.int32)
    names, weights = np.empty(4, np.int32), np.empty(4)
    for y in range(height):
        down = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top = int(down)
        below, down = min(top + 1, rows - 1), down - top
        for x in range(width):
            right = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
            left = int(right)
            beside, right = min(left + 1, columns - 1), right - left
            names[0], weights[0] = labels[top, left], (1 - down) * (1 - right)
            names[1], weights[1] = labels[top, beside], (1 - down) * right
            names[2], weights[2] = labels[below, left], down * (1 - right)
            names[3], weights[3] = labels[below, beside], down * right
            name, most = names[0], -1.0
            for i in range(4):
                weight = 0.0
                for j in range(4):
                    if names[j] == names[i]:
                        weight += weights[j]
                if weight > most + TIE or (name == 0 and weight > most - TIE):
                    name, most = names[i], weight
            resized[y, x] = name
    return resized
