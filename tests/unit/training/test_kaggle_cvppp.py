"""The layouts of Kaggle's DSB2018 and of the CVPPP leaves, on files made in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.config.data import DataConfig
from training.data.dataset import DataError, FileDataset, Sample
from training.data.opening import find_split, open_split

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
KAGGLE, CVPPP = DataConfig(kind="kaggle"), DataConfig(kind="cvppp")


def mask(rows: slice, columns: slice) -> np.ndarray:
    drawn = np.zeros((6, 8), np.uint8)
    drawn[rows, columns] = 255
    return drawn


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    """Two images of two masks each; in `a` the small one lies on the large one."""
    for name in ("a", "b"):
        folder = tmp_path / "stage1_train" / name
        (folder / "images").mkdir(parents=True)
        (folder / "masks").mkdir()
        rgba = np.stack([GREY, 0 * GREY, 255 - GREY, 0 * GREY + 255], axis=2)
        cv2.imwrite(str(folder / f"images/{name}.png"), rgba)
        cv2.imwrite(str(folder / "masks/0.png"), mask(slice(1, 2), slice(1, 3)))
        cv2.imwrite(str(folder / "masks/1.png"), mask(slice(0, 4), slice(0, 4)))
    return tmp_path


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """Two plants, labels with a palette as the challenge has them, one pixel of stem."""
    for name in ("plant001", "plant002"):
        labels = np.zeros((6, 8), np.uint8)
        labels[:3, :3], labels[3:, 4:] = 1, 2
        picture = Image.fromarray(labels).convert("P")
        picture.putdata(labels.ravel().tolist())
        picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [7] * 759)
        picture.save(tmp_path / f"{name}_label.png")
        plant = (labels > 0).astype(np.uint8)
        plant[3, 3] = 1
        cv2.imwrite(str(tmp_path / f"{name}_fg.png"), plant)
        cv2.imwrite(str(tmp_path / f"{name}_rgb.png"), np.stack([GREY] * 3, axis=2))
    return tmp_path


def samples(data: DataConfig, root: Path) -> list[Sample]:
    dataset = open_split(data, root, "all")
    return [dataset[index] for index in range(len(dataset))]


def test_kaggle_masks_become_labels_with_the_small_on_the_large(nuclei: Path) -> None:
    first, second = samples(KAGGLE, nuclei)
    assert (first.name, second.name) == ("a", "b")
    assert np.bincount(first.labels.ravel()).tolist() == [48 - 16, 14, 2]
    assert first.labels[1, 1] == 2
    assert np.array_equal(first.image[:, :, 0], 255 - GREY)


def test_kaggle_files_may_end_otherwise(nuclei: Path) -> None:
    expected = samples(KAGGLE, nuclei)[0]
    folder = nuclei / "stage1_train/a"
    (folder / "images/a.png").rename(folder / "images/a.PNG")
    (folder / "masks/0.png").rename(folder / "masks/0.PNG")
    cv2.imwrite(str(folder / "masks/1.tif"), cv2.imread(str(folder / "masks/1.png"), 0))
    (folder / "masks/1.png").unlink()
    (folder / "masks/Thumbs.db").touch()
    found = samples(KAGGLE, nuclei)[0]
    assert np.array_equal(found.image, expected.image)
    assert np.array_equal(found.labels, expected.labels)


def test_leaf_numbers_are_palette_indices_and_what_is_no_leaf_is_ignored(leaves: Path) -> None:
    plant = samples(CVPPP, leaves)[0]
    assert plant.name == "plant001"
    assert plant.labels[0, 0] == 1
    assert plant.labels[5, 7] == 2
    assert plant.labels[3, 3] == -1
    assert np.unique(plant.labels).tolist() == [-1, 0, 1, 2]


def test_a_plant_without_foreground_mask_has_nothing_to_ignore(leaves: Path) -> None:
    (leaves / "plant001_fg.png").unlink()
    assert samples(CVPPP, leaves)[0].labels.min() == 0


def no_masks(root: Path) -> None:
    for path in (root / "stage1_train/b/masks").glob("*.png"):
        path.unlink()


def empty_mask(root: Path) -> None:
    cv2.imwrite(str(root / "stage1_train/b/masks/0.png"), 0 * GREY)


def small_mask(root: Path) -> None:
    cv2.imwrite(str(root / "stage1_train/b/masks/0.png"), GREY[:4])


def corrupt_mask(root: Path) -> None:
    (root / "stage1_train/b/masks/0.png").write_bytes(b"\x89PNG")


def no_picture(root: Path) -> None:
    (root / "stage1_train/b/images/b.png").unlink()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (no_masks, "b/masks: no mask"),
        (empty_mask, "0.png: the mask is empty"),
        (small_mask, "0.png: (4, 8) pixels, the image has (6, 8)"),
        (corrupt_mask, "0.png: does not decode"),
        (no_picture, "b.png: no such file"),
    ],
)
def test_broken_kaggle_files_are_named(
    nuclei: Path, fault: Callable[[Path], None], words: str
) -> None:
    fault(nuclei)
    assert words in only_problem(KAGGLE, nuclei)


def test_an_image_without_a_mask_may_be_allowed(nuclei: Path) -> None:
    no_masks(nuclei)
    first, second = samples(replace(KAGGLE, allow_empty=True), nuclei)
    assert first.labels.max() == 2
    assert not second.labels.any()
    (nuclei / "stage1_train/b/masks").rmdir()
    with pytest.raises(DataError, match="b/masks: no mask"):
        samples(replace(KAGGLE, allow_empty=True), nuclei)


def no_label(root: Path) -> None:
    (root / "plant002_label.png").unlink()


def bare_label(root: Path) -> None:
    cv2.imwrite(str(root / "plant002_label.png"), 0 * GREY)


def small_label(root: Path) -> None:
    cv2.imwrite(str(root / "plant002_label.png"), GREY[:4])


def colour_label(root: Path) -> None:
    cv2.imwrite(str(root / "plant002_label.png"), np.zeros((6, 8, 3), np.uint8))


def small_foreground(root: Path) -> None:
    cv2.imwrite(str(root / "plant002_fg.png"), GREY[:4])


def corrupt_picture(root: Path) -> None:
    (root / "plant002_rgb.png").write_bytes(b"\x89PNG")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (no_label, "plant002_label.png: no such file"),
        (bare_label, "plant002_label.png: no instance"),
        (small_label, "plant002_label.png: (4, 8) pixels"),
        (colour_label, "plant002_label.png: 3 channels"),
        (small_foreground, "plant002_fg.png: (4, 8) pixels"),
        (corrupt_picture, "plant002_rgb.png: the data is none of PNG"),
    ],
)
def test_broken_leaf_files_are_named(
    leaves: Path, fault: Callable[[Path], None], words: str
) -> None:
    fault(leaves)
    assert words in only_problem(CVPPP, leaves)


def test_a_plant_without_a_leaf_may_be_allowed(leaves: Path) -> None:
    bare_label(leaves)
    first, second = samples(replace(CVPPP, allow_empty=True), leaves)
    assert first.labels.max() == 2
    assert set(np.unique(second.labels)) == {-1, 0}


def only_problem(data: DataConfig, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_split(data, root, "all")
    (problem,) = caught.value.problems
    return problem


def ids(dataset: FileDataset) -> set[str]:
    return set(dataset.ids)


def test_without_lists_the_rule_deals_every_image_once_and_moves_none_later(
    tmp_path: Path,
) -> None:
    def plants(count: int) -> None:
        for number in range(count):
            (tmp_path / f"plant{number:03}_rgb.png").touch()

    plants(60)
    train, val = (ids(find_split(CVPPP, tmp_path, split)) for split in ("train", "val"))
    assert not train & val
    assert len(train | val) == 60
    assert 3 <= len(val) <= 18
    plants(70)
    assert val <= ids(find_split(CVPPP, tmp_path, "val"))


def test_a_list_goes_before_the_rule(leaves: Path) -> None:
    (leaves / "val.txt").write_text("plant002\n")
    assert ids(find_split(CVPPP, leaves, "val")) == {"plant002"}


@pytest.mark.parametrize("data", [KAGGLE, CVPPP])
def test_an_empty_folder_is_no_data_set(tmp_path: Path, data: DataConfig) -> None:
    with pytest.raises(DataError, match="no image of this layout"):
        find_split(data, tmp_path, "all")


def test_the_rule_knows_two_splits_and_everything(leaves: Path) -> None:
    with pytest.raises(DataError, match=r"test\.txt: no such split list"):
        find_split(CVPPP, leaves, "test")


def test_a_split_into_which_nothing_falls_is_refused(leaves: Path) -> None:
    with pytest.raises(DataError, match=r"none of 2 images falls into val"):
        find_split(DataConfig(kind="cvppp", val_share=1e-6), leaves, "val")
