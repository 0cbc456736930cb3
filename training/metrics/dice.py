"""Leaf-segmentation metrics (CVPPP / LSC): symmetric best Dice, foreground Dice, count error."""

from __future__ import annotations

import numpy as np

from training.metrics.matching import Overlap


def best_dice(pair: Overlap) -> tuple[float, float]:
    """Give the best Dice of true towards predicted instances, and of predicted towards true.

    Notes
    -----
    Both sides empty: 1. One side empty: 0 for both directions.
    """
    n_true, n_pred = pair.pixels.shape
    if n_true == 0 or n_pred == 0:
        both = float(n_true == n_pred)
        return both, both
    dice = pair.dice
    return float(dice.max(axis=1).mean()), float(dice.max(axis=0).mean())


def symmetric_best_dice(pair: Overlap) -> float:
    """Give the smaller of the two directions of best Dice."""
    return min(best_dice(pair))


def foreground_dice(pair: Overlap) -> float:
    """Give the Dice of the unions of all instances; 1 when both are empty."""
    sizes = pair.true_sizes.sum() + pair.pred_sizes.sum()
    return float(2 * pair.pixels.sum() / sizes) if sizes else 1.0


def count_difference(pair: Overlap) -> int:
    """Give the number of predicted minus the number of true instances."""
    return int(np.diff(pair.pixels.shape)[0])
