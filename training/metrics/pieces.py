"""What becomes of instances that others have cut into pieces."""

from __future__ import annotations

import cv2
import numpy as np

from service.arrays import Bool, Int32

SMALLEST_PIECE_PX = 30
"""Smaller pieces are slivers whose owner nobody could tell."""


def cut_and_kept(true: Int32, pred: Int32) -> tuple[int, int]:
    """Count the true instances that lie in several pieces, and those that kept one id.

    Parameters
    ----------
    true, pred : (H, W) int32
        0 background, positive ids.

    Returns
    -------
    cut, kept : int
        An instance is kept when most pixels of each of its pieces carry the same predicted id.
    """
    cut = kept = 0
    for instance in np.unique(true[true > 0]):
        owners = _owners(true == instance, pred)
        cut += len(owners) > 1
        kept += len(owners) > 1 and len(set(owners)) == 1 and owners[0] > 0
    return cut, kept


def _owners(mask: Bool, pred: Int32) -> list[int]:
    """Give the most frequent predicted id of each piece of a mask."""
    count, pieces, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return [
        int(np.bincount(pred[pieces == piece]).argmax())
        for piece in range(1, count)
        if facts[piece, cv2.CC_STAT_AREA] >= SMALLEST_PIECE_PX
    ]
