"""The layout of Cityscapes, on small files made in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.config.data import DataConfig
from training.data.dataset import DataError, Sample
from training.data.opening import find_split, open_split

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
TWO = DataConfig(kind="cityscapes", classes=("car", "person"))
NAME = "ulm/ulm_000000_000019"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One street: two cars, a person, a rider, a group of cars, a trailer, void and road."""
    codes = np.full((6, 8), 7, np.uint16)
    codes[0] = 0
    codes[1, :2], codes[1, 2:4] = 26000, 26001
    codes[2, :3] = 24000
    codes[3, :3] = 25000
    codes[4, :5] = 26
    codes[5, :2] = 30000
    write(tmp_path, codes)
    picture = tmp_path / "leftImg8bit/val" / f"{NAME}_leftImg8bit.png"
    picture.parent.mkdir(parents=True)
    cv2.imwrite(str(picture), np.stack([GREY, GREY, 255 - GREY], axis=2))
    return tmp_path


def label_path(root: Path) -> Path:
    return root / "gtFine/val" / f"{NAME}_gtFine_instanceIds.png"


def write(root: Path, codes: np.ndarray) -> None:
    label_path(root).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(label_path(root)), codes)


def only_sample(data: DataConfig, root: Path) -> Sample:
    dataset = open_split(data, root, "val")
    assert len(dataset) == 1
    return dataset[0]


def test_things_are_numbered_and_groups_void_and_unjudged_things_ignored(root: Path) -> None:
    sample = only_sample(TWO, root)
    assert sample.name == NAME
    labels = sample.labels
    assert labels[0].tolist() == [-1] * 8
    assert labels[4].tolist() == [-1] * 5 + [0] * 3
    assert labels[5].tolist() == [-1] * 2 + [0] * 6
    assert labels[3].tolist() == [0] * 8, "a rider is not asked for"
    assert np.unique(labels).tolist() == [-1, 0, 1, 2, 3]


def test_every_instance_has_its_class_in_the_order_asked_for(root: Path) -> None:
    sample = only_sample(TWO, root)
    classes = sample.classes_at(sample.labels)
    assert classes[1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert classes[2].tolist() == [2, 2, 2, 0, 0, 0, 0, 0]
    assert classes[0].tolist() == [0] * 8


def test_what_the_official_evaluation_does_not_judge_is_ignored(root: Path) -> None:
    codes = np.full((6, 8), 24000, np.uint16)
    codes.flat[:34] = np.arange(34)
    write(root, codes)
    labels = only_sample(TWO, root).labels
    # `ignoreInEval` in the authors' labels.py, and the eight things without a number: groups.
    judged = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23]
    assert np.flatnonzero(labels.flat[:34] == 0).tolist() == judged
    assert (labels.flat[:34] > 0).sum() == 0


def test_without_classes_all_things_are_one(root: Path) -> None:
    sample = only_sample(DataConfig(kind="cityscapes"), root)
    assert sample.classes is None
    assert sample.labels.max() == 4


def test_images_come_at_the_size_asked_for(root: Path) -> None:
    sample = only_sample(DataConfig(kind="cityscapes", resize=(3, 4)), root)
    assert sample.image.shape == (3, 4, 3)
    assert sample.labels.shape == (3, 4)
    assert set(np.unique(sample.labels)) <= {-1, 0, 1, 2, 3, 4}


def missing(root: Path) -> None:
    label_path(root).unlink()


def corrupt(root: Path) -> None:
    label_path(root).write_bytes(label_path(root).read_bytes()[:50])


def of_another_size(root: Path) -> None:
    write(root, np.full((4, 8), 7, np.uint16))


def unlabelled(root: Path) -> None:
    write(root, np.zeros((6, 8), np.uint16))


def with_wrong_ids(root: Path) -> None:
    write(root, np.full((6, 8), 34000, np.uint16))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (missing, "no such file"),
        (corrupt, "does not decode"),
        (of_another_size, "(4, 8) pixels, the image has (6, 8)"),
        (unlabelled, "nothing is labelled in it"),
        (with_wrong_ids, "34000 is no id of Cityscapes"),
    ],
)
def test_a_broken_label_file_is_named(
    root: Path, fault: Callable[[Path], None], words: str
) -> None:
    fault(root)
    with pytest.raises(DataError) as caught:
        open_split(TWO, root, "val")
    (problem,) = caught.value.problems
    assert "ulm_000000_000019_gtFine_instanceIds.png" in problem
    assert words in problem


def test_a_class_that_the_benchmark_does_not_have_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="'tree' is not one of"):
        find_split(DataConfig(kind="cityscapes", classes=("car", "tree")), root, "val")


def test_a_split_without_images_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"train: no <city>/\*_leftImg8bit.png"):
        find_split(TWO, root, "train")
