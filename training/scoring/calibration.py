"""Fit the curve that turns scores into probabilities (`service.postprocess.calibration`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.postprocess.calibration import log_odds

_ROUNDS = 100
_ENOUGH = 10
"""Instances of either kind below which a curve would be chance."""


def fit_calibration(
    scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> tuple[float, ...]:
    """Find the logistic curve under which the outcomes were likeliest.

    Parameters
    ----------
    scores : (N,) float64
        Of instances, in [0, 1], as they are without calibration.
    right : (N,) bool
        Whether each covers a true instance with an IoU of 0.5 or more.

    Returns
    -------
    tuple of float
        Slope and offset; empty where there are too few of one kind, or where a higher score does
        not mean more often right: then scores are better left alone.

    References
    ----------
    Platt 1999, with the targets of its section 2.2, which keep the curve from being certain.
    """
    hits, misses = int(right.sum()), int((~right).sum())
    if min(hits, misses) < _ENOUGH:
        return ()
    x = np.stack([log_odds(scores), np.ones(len(scores))], axis=1)
    target = np.where(right, (hits + 1) / (hits + 2), 1 / (misses + 2))
    curve = np.zeros(2)
    for _ in range(_ROUNDS):  # Newton's method; the likelihood is concave
        probability = 1 / (1 + np.exp(-x @ curve))
        weight = probability * (1 - probability)
        step = np.linalg.solve(
            x.T @ (weight[:, None] * x) + 1e-9 * np.eye(2), x.T @ (target - probability)
        )
        curve += step
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = (round(float(value), 4) for value in curve)
    return (slope, offset) if slope > 0 else ()
