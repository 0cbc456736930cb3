"""COCO's average precision, on answers whose figures are known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from service.domain import Category, Instance
from service.masks.rle import encode_labels
from training.metrics.coco import CocoAp

Labels = npt.NDArray[np.int32]


def blocks(*ids: int) -> Labels:
    """A row of 4 x 4 blocks with these ids."""
    return np.repeat(np.repeat(np.array([ids], np.int32), 4, axis=0), 4, axis=1)


def instances(labels: Labels, scores: list[float], kinds: list[int]) -> list[Instance]:
    facts = zip(encode_labels(labels), scores, kinds, strict=True)
    return [
        Instance(i, Category(kind, "x"), score, 16, (0, 0, 4, 4), (0.0, 0.0), rle)
        for i, (rle, score, kind) in enumerate(facts, start=1)
    ]


def classes(*kinds: int) -> Labels:
    return np.array([0, *kinds], np.int32)


def test_a_perfect_answer_has_ap_one() -> None:
    coco, labels = CocoAp(), blocks(1, 2, 0, 3)
    coco.add(labels, classes(1, 1, 1), instances(labels, [0.9, 0.8, 0.7], [1, 1, 1]))
    assert coco.result() == {"ap": 1.0, "ap50": 1.0, "ap75": 1.0}


def test_right_answers_count_more_before_wrong_ones() -> None:
    """Three objects, two found among four answers: p = 0.5, r = 2 / 3."""
    true, found = blocks(1, 2, 3, 0, 0), blocks(1, 2, 0, 3, 4)
    results = []
    for scores in ([0.9, 0.8, 0.3, 0.2], [0.3, 0.2, 0.9, 0.8]):
        coco = CocoAp()
        coco.add(true, classes(1, 1, 1), instances(found, scores, [1] * 4))
        results.append(coco.result()["ap50"])
    assert results == pytest.approx([0.663, 0.332], abs=1e-3)


def test_images_are_ranked_together() -> None:
    coco = CocoAp()
    coco.add(blocks(1, 0), classes(1), instances(blocks(1, 0), [0.4], [1]))
    coco.add(blocks(1, 0), classes(1), instances(blocks(0, 1), [0.9], [1]))
    assert coco.result()["ap50"] == pytest.approx(0.5 * 51 / 101)


def test_an_answer_on_a_crowd_is_not_wrong() -> None:
    coco = CocoAp()
    found = instances(blocks(1, 0, 2), [0.5, 0.9], [1, 1])
    coco.add(blocks(1, 0, -1), classes(1), found)
    assert coco.result()["ap"] == pytest.approx(1)


def test_the_right_mask_of_the_wrong_class_is_wrong() -> None:
    coco, labels = CocoAp(), blocks(1, 2)
    coco.add(labels, classes(1, 2), instances(labels, [0.9, 0.8], [1, 1]))
    assert coco.result()["ap50"] == pytest.approx(0.5)


@pytest.mark.parametrize("truth", [blocks(0, 0), blocks(1, 0)])
def test_nothing_found_gives_no_credit(truth: Labels) -> None:
    coco = CocoAp()
    coco.add(truth, classes(*[1] * int(truth.max())), [])
    assert coco.result() == {"ap": 0.0, "ap50": 0.0, "ap75": 0.0}


def test_more_than_a_hundred_instances_count() -> None:
    coco = CocoAp()
    labels = np.arange(1, 151, dtype=np.int32).reshape(10, 15)
    found = instances(labels, [0.9] * 150, [1] * 150)
    coco.add(labels, classes(*[1] * 150), found)
    assert coco.result()["ap"] == 1.0
