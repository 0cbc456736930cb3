"""The curve that turns scores into probabilities: recovered, refused, and worth having."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.postprocess.calibration import calibrated, log_odds
from training.metrics.score import Score, score_labels
from training.scoring.calibration import fit_calibration

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.uniform(0.3, 0.95, 20_000)
OVERLAP = RNG.uniform(0.3, 0.95, 20_000)


def outcomes(*curve: float) -> npt.NDArray[np.bool_]:
    """Draw which instances are right, by a known curve."""
    return RNG.random(OVERLAP.size) < calibrated(CONFIDENCE, OVERLAP, curve)


def test_the_curve_that_made_the_outcomes_is_found() -> None:
    found = fit_calibration(CONFIDENCE, OVERLAP, outcomes(0.5, 2.0, 1.5))
    assert found == pytest.approx((0.5, 2.0, 1.5), abs=0.15)


def test_a_figure_that_says_nothing_does_not_count() -> None:
    tightness, sureness, _ = fit_calibration(CONFIDENCE, OVERLAP, outcomes(0.0, 1.0, 0.0))
    assert tightness == pytest.approx(0.0, abs=0.1)
    assert sureness == pytest.approx(1.0, abs=0.1)
    always = np.ones_like(CONFIDENCE)
    _, sureness, _ = fit_calibration(always, OVERLAP, outcomes(0.0, 1.0, 0.0))
    assert sureness == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    "right", [np.ones(OVERLAP.size, bool), np.zeros(OVERLAP.size, bool), OVERLAP < 0.6]
)
def test_what_cannot_be_learnt_leaves_scores_alone(right: npt.NDArray[np.bool_]) -> None:
    assert fit_calibration(CONFIDENCE, OVERLAP, right) == ()


def test_outcomes_that_a_figure_separates_give_a_finite_curve() -> None:
    curve = fit_calibration(CONFIDENCE, OVERLAP, OVERLAP > 0.6)
    assert curve[1] > 10
    assert np.isfinite(curve).all()


def test_a_surer_outline_scores_more_and_the_ends_are_finite() -> None:
    ends = np.array([0.0, 1e-9, 0.2, 0.5, 0.9, 1.0])
    found = calibrated(ends, ends, (0.4, 1.7, -0.4))
    assert np.all(np.diff(found) >= 0)
    assert np.isfinite(found).all()
    assert np.isfinite(log_odds(ends)).all()
    assert calibrated(ends, ends, ()).tolist() == (ends * ends).tolist()


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
    right = outcomes(0.5, 2.0, 1.5)
    curve = fit_calibration(CONFIDENCE, OVERLAP, right)
    better = calibrated(CONFIDENCE, OVERLAP, curve)
    assert gap(better, right) < 0.02 < 0.1 < gap(CONFIDENCE * OVERLAP, right)


def gap(scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """Compute the error of scores without images around them."""
    tenth = np.minimum(scores * 10, 9).astype(int)
    return float(np.abs(np.bincount(tenth, scores - right, minlength=10)).sum() / scores.size)
