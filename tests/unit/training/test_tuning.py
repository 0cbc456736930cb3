"""Tuning: what is tried, what wins."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from service.domain import Category, Method, Prediction
from service.recipe import Recipe
from training.data.dataset import Sample
from training.data.synthetic import NucleiDataset
from training.scoring.decoding import read
from training.scoring.refining import near, refine
from training.scoring.tuning import GROUPING, outcomes, tune, usual_diameter

DATA = NucleiDataset(count=1, size=96, min_objects=6, max_objects=6, radius_px=9)
RECIPE = Recipe(
    method="discriminative",
    embedding_size=2,
    classes=(Category(1, "nucleus"),),
    size_multiple=1,
    foreground_threshold=0.4,
    decoder={"bandwidth": 2.5, "min_pixels": 16.0},
)


class Oracle:
    """Knows the answer: clusters 2 apart, and a halo of doubtful foreground around them."""

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Give the truth, spoiled in the way that tuning is to find out."""
        labels = DATA[0].labels
        embedding = np.stack([2.0 * labels, 0 * labels]).astype(np.float16)
        doubt = np.where(labels > 0, 3.0, 0.1).astype(np.float16)
        return Prediction(embedding, doubt[None])


def test_the_best_setting_comes_last_and_beats_the_first() -> None:
    trials = list(tune(Oracle(), DATA, RECIPE))
    assert trials[-1].score.mean_ap == max(trial.score.mean_ap for trial in trials)
    assert trials[-1].score.mean_ap == pytest.approx(1.0)
    assert trials[0].score.mean_ap < 0.5


def test_the_usual_diameter_is_the_median_of_all_objects() -> None:
    areas = np.bincount(DATA[0].labels.ravel())[1:]
    assert usual_diameter(DATA) == pytest.approx(np.median(2 * np.sqrt(areas / np.pi)), abs=0.05)


class Empty:
    """Two images without an object."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"{index}", np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.int32))


def test_images_without_objects_have_no_usual_diameter() -> None:
    assert usual_diameter(Empty()) == 0


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_s_decoder_takes_what_is_tried(method: Method) -> None:
    name, values = GROUPING[method]
    size = 1 if method == "associative" else 2
    seeds = 4 if method == "metric_learning" else 1
    prediction = Prediction(
        np.full((size, 8, 8), method != "spatial", np.float32),
        np.full((1, 8, 8), 9.0, np.float32),
        {
            "seediness": np.full((seeds, 8, 8), 9.0, np.float32),
            "sigma": np.zeros((2, 8, 8), np.float32),
        },
    )
    for value in values:
        recipe = replace(RECIPE, method=method, embedding_size=size, decoder={name: value})
        assert read(prediction, recipe, (8, 8)).max() == 1


class Doubter(Oracle):
    """Finds a speck beside every nucleus that is not there, and half believes in it."""

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Give the truth, and the specks."""
        labels = DATA[0].labels
        specks = np.zeros_like(labels, bool)
        specks[::8, ::8] = True
        specks = (cv2.dilate(specks.astype(np.uint8), np.ones((3, 3))) > 0) & ~(
            cv2.dilate((labels > 0).astype(np.uint8), np.ones((3, 3))) > 0
        )
        _, number = cv2.connectedComponents(specks.astype(np.uint8))
        apart = np.where(specks, number + labels.max() + 1, labels)
        embedding = np.stack([4.0 * (apart % 20), 4.0 * (apart // 20)]).astype(np.float16)
        sure = np.where(labels > 0, 6.0, np.where(specks, 1.0, -9.0)).astype(np.float16)
        return Prediction(embedding, sure[None])


def test_what_is_small_and_doubtful_can_fall_by_its_score() -> None:
    sample, prediction = DATA[0], Doubter().predict(DATA[0].image)
    start = replace(RECIPE, decoder={"bandwidth": 1.5, "min_pixels": 4.0})
    _, sure, right = outcomes([(sample, prediction)], start)
    assert right.sum() == len(np.unique(sample.labels)) - 1
    assert sure[right].min() > 0.8 > sure[~right].max()
    shown = read(prediction, replace(start, min_score=0.8), sample.labels.shape)
    assert shown.max() == right.sum()


class Displacer:
    """64 squares, some of which it finds half a width aside: few of the surer, most are right."""

    def __init__(self) -> None:
        self.labels = np.zeros((96, 100), np.int32)
        self._found = np.zeros((96, 100), np.int32)
        self._sure = np.full((1, 96, 100), -9.0, np.float16)
        for number in range(64):
            (row, column), doubtful = divmod(number, 8), number >= 32
            y, x = 12 * row, 12 * column
            aside = 4 * (number % 16 < (6 if doubtful else 1))
            self.labels[y : y + 8, x : x + 8] = number + 1
            self._found[y : y + 8, x + aside : x + aside + 8] = number + 1
            self._sure[0, y : y + 8, x + aside : x + aside + 8] = 2.0 if doubtful else 4.0

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample("squares", np.zeros(self.labels.shape, np.uint8), self.labels)

    def predict(self, image: npt.NDArray[np.uint8]) -> Prediction:
        """Give every square a vector of its own."""
        embedding = np.stack([4.0 * (self._found % 9), 4.0 * (self._found // 9)])
        return Prediction(embedding.astype(np.float16), self._sure)


def test_the_curve_is_kept_where_no_smallest_score_helps() -> None:
    squares = Displacer()
    stale = (0.0, 9.0, 9.0)
    start = replace(RECIPE, decoder={"bandwidth": 1.5}, score_calibration=stale)
    *tried, best = tune(squares, squares, start)
    assert best.recipe.min_score == 0
    assert best.recipe.score_calibration not in ((), stale)
    assert best.score.calibration_error < 0.05 < tried[0].score.calibration_error
    kept = list(tune(squares, squares, start, refit=False))[-1].recipe
    assert kept.score_calibration == stale


def test_settings_that_nobody_searches_stay() -> None:
    best = list(tune(Oracle(), DATA, RECIPE))[-1].recipe
    assert best.classes == RECIPE.classes
    assert best.foreground_threshold > 0.525
    assert best.decoder["bandwidth"] < 2.5


NEARLY = replace(RECIPE, foreground_threshold=0.5, decoder={"bandwidth": 1.5, "min_pixels": 16.0})


def test_refining_finds_what_lies_near() -> None:
    trials = list(refine(Oracle(), DATA, NEARLY))
    assert trials[0].recipe == NEARLY
    assert trials[0].score.mean_ap < 0.9
    assert trials[-1].score.mean_ap == pytest.approx(1.0)
    best = trials[-1].recipe
    assert 0.525 < best.foreground_threshold <= 0.56
    assert replace(best, foreground_threshold=0.5) == NEARLY


def test_refining_ends_with_a_round_in_vain() -> None:
    best = replace(NEARLY, foreground_threshold=0.54)
    trials = list(refine(Oracle(), DATA, best))
    assert trials[-1].recipe == best
    names = ("bandwidth", "min_pixels", "foreground_threshold", "min_score")
    tried = [len(near(best, name)) for name in names]
    assert tried == [6, 4, 6, 3]  # a smallest score of 0 can only rise
    assert len(trials) == 1 + sum(tried) + 1


def test_near_are_some_steps_to_both_sides_within_what_a_setting_may_be() -> None:
    recipe = replace(
        NEARLY,
        min_score=0.05,
        decoder={"bandwidth": 1.75, "min_pixels": 6.0, "join_rim": 0.5, "join_below": 2.3},
    )

    def values(name: str) -> list[float]:
        return [found.decoder[name] for found in near(recipe, name)]

    assert values("bandwidth") == [1.6, 1.65, 1.7, 1.8, 1.85, 1.9]
    assert values("min_pixels") == [2.0, 10.0, 14.0]
    assert values("join_rim") == [0.0, 1.0, 1.5]
    assert values("join_below") == [2.0, 2.15, 2.45, 2.6]
    assert near(recipe, "join_size") == []
    assert [found.min_score for found in near(recipe, "min_score")] == [0.025, 0.075, 0.1, 0.125]
    assert len(near(recipe, "foreground_threshold")) == 6
