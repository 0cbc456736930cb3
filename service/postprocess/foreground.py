"""From logits to masks: which pixels belong to some object, and of which class.

Axes: C classes, H W image.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import numpy.typing as npt


def foreground_masks(
    logits: npt.NDArray[np.floating[Any]], threshold: float
) -> list[npt.NDArray[np.bool_]]:
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
    above = [np.greater(plane, limit) for plane in logits]
    if len(above) == 1:
        return above
    best = np.where(np.isnan(logits), -np.inf, logits).argmax(axis=0)
    return [mask & (best == c) for c, mask in enumerate(above)]
