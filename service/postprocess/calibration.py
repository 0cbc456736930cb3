"""From how good an instance looks to how often such instances are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.arrays import Float64

NEVER_SURE = 1e-6
"""How far from certain a figure counts as at least."""


def calibrated(confidence: Float64, overlap: Float64, calibration: Sequence[float]) -> Float64:
    """Return the probabilities that instances are right.

    Parameters
    ----------
    confidence : (K,) float64
        Of the decoder (`service.postprocess.decoded`), in [0, 1].
    overlap : (K,) float64
        Expected IoU (`service.postprocess.scores`), in [0, 1].
    calibration : sequence of float
        Slopes over the log odds of the two and an offset of a logistic curve, as
        `training.scoring.calibration` fits it; empty: the product of the two is the score.

    References
    ----------
    Platt 1999; Guo et al. 2017 (arXiv:1706.04599).
    """
    if not calibration:
        return confidence * overlap
    tightness, sureness, offset = calibration
    odds = tightness * log_odds(confidence) + sureness * log_odds(overlap) + offset
    return np.asarray(1 / (1 + np.exp(-odds)), np.float64)


def log_odds(scores: Float64) -> Float64:
    """Return ``log(p / (1 - p))``, finite for 0 and 1 too."""
    inside = np.clip(scores, NEVER_SURE, 1 - NEVER_SURE)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)
