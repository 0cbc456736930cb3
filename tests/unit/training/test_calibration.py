"""The curve that turns scores into probabilities: recovered, refused, and worth having."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.postprocess.calibration import calibrated, log_odds
from training.metrics.score import Score, score_labels
from training.scoring.calibration import fit_calibration

RNG = np.random.default_rng(0)
SCORES = RNG.uniform(0.3, 0.95, 20_000)


def outcomes(slope: float, offset: float) -> npt.NDArray[np.bool_]:
    """Draw which instances are right, by a known curve."""
    return RNG.random(SCORES.size) < calibrated(SCORES, (slope, offset))


def test_the_curve_that_made_the_outcomes_is_found() -> None:
    found = fit_calibration(SCORES, outcomes(2.0, 1.5))
    assert found == pytest.approx((2.0, 1.5), abs=0.15)


def test_scores_that_are_probabilities_already_stay() -> None:
    assert fit_calibration(SCORES, outcomes(1.0, 0.0)) == pytest.approx((1.0, 0.0), abs=0.1)


@pytest.mark.parametrize(
    "right", [np.ones(SCORES.size, bool), np.zeros(SCORES.size, bool), SCORES < 0.6]
)
def test_what_cannot_be_learnt_leaves_scores_alone(right: npt.NDArray[np.bool_]) -> None:
    assert fit_calibration(SCORES, right) == ()


def test_outcomes_that_scores_separate_give_a_finite_curve() -> None:
    slope, offset = fit_calibration(SCORES, SCORES > 0.6)
    assert slope > 10
    assert np.isfinite(offset)


def test_the_order_stays_and_the_ends_are_finite() -> None:
    scores = np.array([0.0, 1e-9, 0.2, 0.5, 0.9, 1.0])
    found = calibrated(scores, (1.7, -0.4))
    assert np.all(np.diff(found) >= 0)
    assert np.isfinite(found).all()
    assert np.isfinite(log_odds(scores)).all()
    assert calibrated(scores, ()) is scores


def test_the_error_is_the_gap_by_tenths() -> None:
    true = np.zeros((10, 40), np.int32)
    pred = np.zeros_like(true)
    for k in range(4):
        pred[2:6, 10 * k : 10 * k + 5] = k + 1
    true[2:6, 0:5] = 7
    score = Score((score_labels("x", true, pred, scores=[0.95, 0.25, 0.25, 0.65]),))
    # Tenths: one right at .95, two wrong at .25, one wrong at .65.
    assert score.calibration_error == pytest.approx((0.05 + 0.5 + 0.65) / 4)
    assert score.images[0].right == (True, False, False, False)


def test_calibration_makes_the_error_small() -> None:
    right = outcomes(2.0, 1.5)
    better = calibrated(SCORES, fit_calibration(SCORES, right))
    assert gap(better, right) < 0.02 < 0.1 < gap(SCORES, right)


def gap(scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Compute the error of scores without images around them."""
    tenth = np.minimum(scores * 10, 9).astype(int)
    return float(np.abs(np.bincount(tenth, scores - right, minlength=10)).sum() / scores.size)
