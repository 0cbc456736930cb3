"""How far outside or inside the drawn outlines the found ones lie, on the whole.

Images that look alike may have been drawn by people who do not draw alike: what one of them leaves
out as glow, another takes in. No network can know whose image it is, and at a high IoU every
instance of such an image is wrong.
"""

from __future__ import annotations

import numpy as np

from training.metrics.matching import Overlap

MATCHED = 0.5
"""Least IoU of a found and a drawn instance for their outlines to be compared."""


def outline_offset(pair: Overlap) -> float:
    """Give the median difference of radius in pixels, above 0 where the found are larger.

    The radius of an instance is that of the disc of its area. 0 where nothing matches.

    Parameters
    ----------
    pair : Overlap
        The two label images.
    """
    true, pred = np.nonzero(pair.iou >= MATCHED)
    if true.size == 0:
        return 0.0
    radii = [np.sqrt(sizes / np.pi) for sizes in (pair.true_sizes[true], pair.pred_sizes[pred])]
    return float(np.median(radii[1] - radii[0]))
