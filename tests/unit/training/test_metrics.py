"""Metrics against a worked example, closed forms and pycocotools."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from training.metrics.dice import (
    best_dice,
    count_difference,
    foreground_dice,
    symmetric_best_dice,
)
from training.metrics.faults import Faults, added, faults
from training.metrics.matching import Matching, match, overlap, pooled
from training.metrics.outline import outline_offset
from training.metrics.pieces import cut_and_kept
from training.metrics.score import Score, score_labels

Labels = npt.NDArray[np.int32]

TRUE = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 0, 3, 3]], np.int32)
PRED = np.array([[1, 1, 2, 2], [1, 0, 2, 2], [0, 0, 2, 2]], np.int32)
EMPTY = np.zeros((3, 4), np.int32)
PAIR = overlap(TRUE, PRED)

label_images = hnp.arrays(np.int32, (7, 8), elements=st.integers(0, 4))


def test_worked_example_has_its_overlaps() -> None:
    assert PAIR.dice[[0, 1, 2], [0, 1, 1]] == pytest.approx([0.8571429, 0.8, 0.5], abs=1e-7)
    assert PAIR.iou[[0, 1, 2], [0, 1, 1]] == pytest.approx([0.75, 2 / 3, 1 / 3])


def test_worked_example_has_its_dice_scores() -> None:
    assert best_dice(PAIR) == pytest.approx((0.7190476, 0.8285714), abs=1e-7)
    assert symmetric_best_dice(PAIR) == pytest.approx(0.7190476, abs=1e-7)
    assert foreground_dice(PAIR) == pytest.approx(0.9473684, abs=1e-7)
    assert count_difference(PAIR) == -1


@pytest.mark.parametrize(
    ("threshold", "strict", "expected"),
    [(0.5, False, 2 / 3), (0.7, False, 0.25), (0.75, False, 0.25), (0.75, True, 0.0)],
)
def test_worked_example_has_its_average_precision(
    threshold: float,
    expected: float,
    *,
    strict: bool,
) -> None:
    assert match(PAIR, threshold, strict=strict).ap == pytest.approx(expected)


@pytest.mark.parametrize(("strict", "expected"), [(False, 0.3166667), (True, 0.2916667)])
def test_worked_example_has_its_mean_over_thresholds(
    expected: float,
    *,
    strict: bool,
) -> None:
    thresholds = [round(0.5 + 0.05 * step, 2) for step in range(10)]
    mean = np.mean([match(PAIR, threshold, strict=strict).ap for threshold in thresholds])
    assert mean == pytest.approx(expected, abs=1e-7)


def test_worked_example_has_its_panoptic_quality() -> None:
    found = match(PAIR, 0.5, strict=True)
    assert found.panoptic_quality == pytest.approx(0.5666667, abs=1e-7)
    assert found.f1 == pytest.approx(0.8)


def shifted_squares(shift: int) -> tuple[Labels, Labels]:
    true, pred = np.zeros((20, 40), np.int32), np.zeros((20, 40), np.int32)
    true[5:15, 5:15], pred[5:15, 5 + shift : 15 + shift] = 1, 1
    return true, pred


@given(shift=st.integers(0, 10))
def test_iou_of_shifted_squares_has_its_closed_form(shift: int) -> None:
    pair = overlap(*shifted_squares(shift))
    assert pair.iou[0, 0] == pytest.approx((10 - shift) / (10 + shift))
    assert match(pair, (10 - shift) / (10 + shift)).tp == min(1, 10 - shift) or shift == 10


@given(true=label_images, pred=label_images)
def test_iou_equals_that_of_pycocotools(true: Labels, pred: Labels) -> None:
    pair = overlap(true, pred)
    encoded = [
        [coco.encode(np.asfortranarray(image == i, np.uint8)) for i in np.unique(image) if i]
        for image in (true, pred)
    ]
    expected = np.zeros(pair.iou.shape)
    if expected.size:
        expected = coco.iou(encoded[0], encoded[1], [0] * len(encoded[1]))
    np.testing.assert_allclose(pair.iou, expected)


@given(true=label_images, pred=label_images, threshold=st.floats(0.05, 1))
@settings(deadline=None)
def test_counts_add_up_and_swap_with_their_arguments(
    true: Labels, pred: Labels, threshold: float
) -> None:
    forward, back = match(overlap(true, pred), threshold), match(overlap(pred, true), threshold)
    assert forward.tp + forward.fn == np.unique(true[true > 0]).size
    assert forward.tp + forward.fp == np.unique(pred[pred > 0]).size
    assert (forward.tp, forward.fp, forward.fn) == (back.tp, back.fn, back.fp)


@given(image=label_images)
def test_an_image_matches_itself_perfectly_under_any_numbering(image: Labels) -> None:
    score = score_labels("itself", image, (image * 50) % 1009)
    assert score.matchings[0.9].ap == 1
    assert (score.sbd, score.fbd, score.dic) == (1, 1, 0)


def test_matching_takes_the_most_pairs_rather_than_the_best_single_one() -> None:
    # Greedily the second prediction would take the first truth and leave the second without.
    true = np.array([[1] * 6 + [2] * 4], np.int32)
    pred = np.array([[1] * 3 + [2] * 7], np.int32)
    assert overlap(true, pred).iou.round(3).tolist() == [[0.5, 0.3], [0.0, 0.571]]
    assert match(overlap(true, pred), 0.3).tp == 2


@pytest.mark.parametrize(
    ("true", "pred", "ap", "sbd"),
    [(EMPTY, EMPTY, 1, 1), (TRUE, EMPTY, 0, 0), (EMPTY, PRED, 0, 0)],
)
def test_empty_sides_have_the_values_we_decided_on(
    true: Labels, pred: Labels, ap: float, sbd: float
) -> None:
    score = score_labels("edge", true, pred)
    assert score.matchings[0.5].ap == ap
    assert score.sbd == sbd
    assert score.panoptic.panoptic_quality == ap
    assert score.panoptic.f1 == ap


def test_ignored_pixels_count_for_nobody() -> None:
    true = np.array([[1, 1, -1, -1]], np.int32)
    pred = np.array([[1, 1, 1, 2]], np.int32)
    pair = overlap(true, pred)
    assert pair.iou.tolist() == [[1.0]]


def test_pooling_adds_counts_while_the_mean_weighs_images_alike() -> None:
    one, many = np.array([[1]], np.int32), np.arange(1, 11, dtype=np.int32)[None]
    score = Score((score_labels("a", one, 0 * one), score_labels("b", many, many)))
    assert score.ap(0.5) == pytest.approx(0.5)
    assert score.pooled(0.5).ap == pytest.approx(10 / 11)
    assert pooled([]) == Matching(0, 0, 0)
    assert score.summary()["abs_dic"] == pytest.approx(0.5)


def test_images_of_different_size_are_refused() -> None:
    with pytest.raises(ValueError, match="pred"):
        overlap(TRUE, PRED[:2])


CUT: Labels = np.repeat(np.repeat([[1, 2, 1]], 10, axis=0), 10, axis=1).astype(np.int32)


@pytest.mark.parametrize(
    ("pred", "expected"),
    [
        (CUT, (1, 1)),
        (np.where(CUT == 1, 7, 0), (1, 1)),
        (np.where(CUT == 1, 0, 2), (1, 0)),
        (np.where(np.arange(30) < 15, CUT, 3), (1, 0)),
    ],
)
def test_an_instance_in_pieces_is_kept_when_its_pieces_share_an_id(
    pred: Labels, expected: tuple[int, int]
) -> None:
    assert cut_and_kept(CUT, pred.astype(np.int32)) == expected


def test_slivers_do_not_make_an_instance_cut() -> None:
    true = np.zeros((12, 12), np.int32)
    true[:6], true[10, :3] = 1, 1
    assert cut_and_kept(true, true) == (0, 0)


def test_only_instances_of_one_class_share_pixels() -> None:
    labels = np.repeat(np.array([[1, 2, 3]], np.int32), 4, axis=1)
    same, swapped = np.array([0, 1, 2, 2], np.int32), np.array([0, 1, 2, 1], np.int32)
    score = score_labels("x", labels, labels, classes=(same, swapped))
    assert (score.matchings[0.5].tp, score.matchings[0.5].fp, score.matchings[0.5].fn) == (2, 1, 1)
    assert score.fbd == pytest.approx(2 / 3)
    assert score_labels("x", labels, labels, classes=(same, same)).matchings[0.9].ap == 1


def test_a_prediction_mostly_on_ignored_pixels_counts_for_nobody() -> None:
    true = np.array([[1, 1, 0, 0, -1, -1, -1, -1]], np.int32)
    mostly = np.array([[1, 1, 0, 2, 2, 2, 0, 0]], np.int32)
    half = np.array([[1, 1, 2, 2, 2, 2, 0, 0]], np.int32)
    assert score_labels("mostly", true, mostly).matchings[0.5] == Matching(1, 0, 0, 1.0)
    assert score_labels("half", true, half).matchings[0.5] == Matching(1, 1, 0, 1.0)


def test_a_match_counts_however_much_of_it_lies_on_ignored_pixels() -> None:
    true = np.array([[1, 1, 0, -1, -1, -1, -1]], np.int32)
    pred = np.array([[3, 3, 0, 3, 3, 3, 0]], np.int32)
    found = score_labels("matched", true, pred)
    assert found.matchings[0.9] == found.panoptic == Matching(1, 0, 0, 1.0)


def discs(*radii: float) -> Labels:
    """Draw discs side by side, one per radius."""
    y, x = np.mgrid[:64, : 64 * len(radii)]
    image = np.zeros(x.shape, np.int32)
    for i, radius in enumerate(radii):
        image[(y - 32) ** 2 + (x - 64 * i - 32) ** 2 <= radius**2] = i + 1
    return image


@pytest.mark.parametrize("by", [-1.5, 0.0, 0.5, 2.0])
def test_the_outline_offset_is_how_much_larger_the_radii_are(by: float) -> None:
    true, pred = discs(20, 12, 15), discs(20 + by, 12 + by, 15 + by)
    assert outline_offset(overlap(true, pred)) == pytest.approx(by, abs=0.15)
    assert outline_offset(overlap(pred, true)) == -outline_offset(overlap(true, pred))


def test_what_matches_nothing_has_no_outline_to_compare() -> None:
    assert outline_offset(overlap(discs(20, 12), discs(20, 3))) == 0.0
    assert outline_offset(overlap(discs(20), np.zeros((64, 64), np.int32))) == 0.0


def test_images_drawn_in_another_way_are_left_out_of_those_drawn_alike() -> None:
    alike = score_labels("a", discs(20), discs(20))
    otherwise = score_labels("b", discs(20), discs(17))
    both = Score((alike, otherwise))
    assert both.outline_px == pytest.approx(1.5, abs=0.1)
    assert both.drawn_alike() == Score((alike,))
    assert both.summary()["drawn_alike"]["ap"]["0.9"] == 1.0
    assert Score((otherwise,)).drawn_alike() is None
    assert Score((otherwise,)).summary()["drawn_alike"] == {"images": 0, "ap": {}}


def row(text: str) -> Labels:
    """A label image of one row, written as digits."""
    return np.array([[int(letter) for letter in text]], np.int32)


@pytest.mark.parametrize(
    ("true", "pred", "wanted"),
    [
        ("1111", "7777", Faults(found=1)),
        ("1111", "0000", Faults(missed=1)),
        ("1111", "0077", Faults(missed=1)),  # half of it, with an IoU of no more than half
        ("0000", "7777", Faults(spurious=1)),
        ("11112222", "77777777", Faults(merged=2)),
        ("1111111222", "7777777777", Faults(found=1, merged=1)),
        ("111111", "776688", Faults(pieces=1)),
        ("111111", "777768", Faults(found=1)),
        ("1111000000", "0777777777", Faults(misdrawn=1, spurious=1)),
    ],
)
def test_every_fault_has_its_name(true: str, pred: str, wanted: Faults) -> None:
    assert faults(overlap(row(true), row(pred))) == wanted


@given(label_images, label_images)
def test_every_drawn_instance_has_one_fate(true: Labels, pred: Labels) -> None:
    pair = overlap(true, pred)
    fate = faults(pair)
    assert sum(fate) - fate.spurious == pair.true_sizes.size
    assert fate.found == match(pair, 0.5, strict=True).tp
    assert fate.spurious <= pair.pred_sizes.size - fate.found


def test_fates_add_up_over_images() -> None:
    assert added([Faults(found=2, merged=1), Faults(found=3, spurious=4)]) == Faults(
        5, 0, 1, 0, 0, 4
    )
    assert added([]) == Faults()
