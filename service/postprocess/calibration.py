"""From how good an instance looks to how often such instances are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_NEVER_SURE = 1e-6


def calibrated(scores: Float64, calibration: Sequence[float]) -> Float64:
    """Return the probabilities that instances are right, in the order of their scores.

    Parameters
    ----------
    scores : (K,) float64
        In [0, 1].
    calibration : sequence of float
        Slope above 0 and offset of a logistic curve over the scores' log odds, as
        `training.scoring.calibration` fits it; empty: scores stay as they are.

    References
    ----------
    Platt 1999; Guo et al. 2017 (arXiv:1706.04599).
    """
    if not calibration:
        return scores
    slope, offset = calibration
    return np.asarray(1 / (1 + np.exp(-(slope * log_odds(scores) + offset))), np.float64)


def log_odds(scores: Float64) -> Float64:
    """Return ``log(p / (1 - p))``, finite for 0 and 1 too."""
    inside = np.clip(scores, _NEVER_SURE, 1 - _NEVER_SURE)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)
