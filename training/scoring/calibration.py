"""Fit the curve that turns scores into probabilities (`service.postprocess.calibration`)."""

from __future__ import annotations

import numpy as np

from service.arrays import Bool, Float64
from service.postprocess.calibration import log_odds

_ROUNDS = 100
_ENOUGH = 10
"""Instances of either kind below which a curve would be chance."""

_RIDGE = 1e-3
"""Keeps the slope of a figure that says nothing at zero."""


def fit_calibration(confidence: Float64, overlap: Float64, right: Bool) -> tuple[float, ...]:
    """Find the logistic curve under which the outcomes were likeliest.

    Parameters
    ----------
    confidence, overlap : (N,) float64
        Of instances, in [0, 1], as `service.postprocess.calibration.calibrated` takes them.
    right : (N,) bool
        Whether each covers a true instance with an IoU of 0.5 or more.

    Returns
    -------
    tuple of float
        The two slopes and the offset; empty where there are too few of one kind, or where a surer
        outline does not mean more often right: then scores are better left alone.

    References
    ----------
    Platt 1999, with the targets of its section 2.2, which keep the curve from being certain.
    """
    hits, misses = int(right.sum()), int((~right).sum())
    if min(hits, misses) < _ENOUGH:
        return ()
    x = np.stack([log_odds(confidence), log_odds(overlap), np.ones(right.size)], axis=1)
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    ridge = _RIDGE * np.diag([1.0, 1.0, 0.0]) + 1e-9 * np.eye(3)
    curve = np.zeros(3)
    for _ in range(_ROUNDS):  # Newton's method; the likelihood is concave
        probability = 1 / (1 + np.exp(-x @ curve))
        weight = probability * (1 - probability)
        slope = x.T @ (target - probability) - ridge @ curve
        step = np.linalg.solve(x.T @ (weight[:, None] * x) + ridge, slope)
        curve += step
        if np.abs(step).max() < 1e-9:
            break
    tightness, sureness, offset = (round(float(value), 4) for value in curve)
    return (tightness, sureness, offset) if sureness > 0 else ()
