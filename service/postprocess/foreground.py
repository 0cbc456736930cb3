"""From logits to masks: which pixels belong to some object, and of which class.

Axes: C classes, H W image.
"""

from __future__ import annotations

from math import log

import numpy as np

from service.arrays import Bool, Floats
from service.compiled import kernel
from service.postprocess.planes import Planes, as_planes, widen


def foreground_masks(logits: Floats, threshold: float) -> list[Bool]:
    """Return one mask per class; no pixel lies in two.

    Parameters
    ----------
    logits : (C, H, W) float16 or float32
        Before the sigmoid; NaN means background.
    threshold : float
        Probability above which a pixel is foreground, in (0, 1).

    Returns
    -------
    list of (H, W) bool
        A pixel above the threshold in several classes goes to the largest logit, the first on a
        tie.

    Raises
    ------
    ValueError
        If the logits do not have three axes or the threshold is out of range.
    """
    if logits.ndim != 3 or logits.shape[0] < 1:
        raise ValueError(f"foreground logits are a (C, H, W) array, not {logits.shape}")
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"a foreground threshold lies in (0, 1), not {threshold}")
    limit = np.float32(log(threshold / (1.0 - threshold)))
    above = list(_above(as_planes(logits), logits.shape[1], logits.shape[2], limit))
    if len(above) == 1:
        return above
    best = np.where(np.isnan(logits), -np.inf, logits).argmax(axis=0)
    return [mask & (best == c) for c, mask in enumerate(above)]


@kernel
def _above(planes: Planes, height: int, width: int, limit: np.float32) -> Bool:
    """Return ``[C, H, W]`` where the logits are above the limit."""
    out = np.empty((planes.size, height, width), np.bool_)
    values = planes.values
    for c in range(planes.size):
        for y in range(height):
            start = np.uint64(c * planes.plane + y * planes.row)  # unsigned: see `lookup.measure`
            for u in range(np.uint64(width)):
                out[c, y, u] = widen(values[start + u]) > limit
    return out
