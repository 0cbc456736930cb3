"""Folders of images: what is read, and how broken files are reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from service.domain import ImageLimits
from service.imaging.decode import decode_image
from training.config.data import DataConfig
from training.config.experiment import Config
from training.config.optim import OptimConfig
from training.data import opening
from training.data.dataset import CachedDataset, DataError, problems
from training.data.files import read_image, read_labels
from training.data.folder import FolderDataset
from training.data.opening import open_datasets, open_split

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
LABELS = (GREY % 3).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of two images, the second in colour and with masks in a better folder too."""
    for folder in ("images", "labels", "better"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), GREY)
    cv2.imwrite(str(tmp_path / "images/b.png"), np.stack([GREY, 0 * GREY, 255 - GREY], axis=2))
    cv2.imwrite(str(tmp_path / "labels/a.png"), LABELS)
    cv2.imwrite(str(tmp_path / "labels/b.png"), LABELS)
    cv2.imwrite(str(tmp_path / "better/b.png"), LABELS + 300)
    cv2.imwrite(str(tmp_path / "images/c.png"), GREY)
    cv2.imwrite(str(tmp_path / "labels/c.png"), LABELS)
    (tmp_path / "train.txt").write_text("a\nb\n\n")
    (tmp_path / "val.txt").write_text("c\n")
    return tmp_path


def test_images_come_as_rgb_and_masks_as_int32(root: Path) -> None:
    dataset = FolderDataset.open(root, "train", ("labels",))
    grey, colour = dataset[0], dataset[1]
    assert len(dataset) == 2
    assert np.array_equal(grey.image, GREY)
    assert np.array_equal(colour.image[:, :, 2], GREY)
    assert np.array_equal(colour.image[:, :, 0], 255 - GREY)
    assert grey.labels.dtype == np.int32


def test_microscopes_files_are_read_as_the_gateway_reads_them(root: Path) -> None:
    for path in (root / "images/a.png", root / "labels/a.png"):
        path.unlink()
    deep = GREY.astype(np.uint16) * 900 + 77
    cv2.imwrite(str(root / "images/a.tif"), deep)
    cv2.imwrite(str(root / "labels/a.tiff"), LABELS)
    sample = FolderDataset.open(root, "train", ("labels",))[0]
    served = decode_image((root / "images/a.tif").read_bytes(), ImageLimits())
    assert served.source_bits == 16
    assert np.array_equal(sample.image, served.pixels[:, :, 0])
    assert np.array_equal(sample.labels, LABELS)


def test_labels_are_read_as_stored_where_0_is_white(root: Path) -> None:
    path = root / "labels/a.tif"
    tifffile.imwrite(path, LABELS.astype(np.uint8), photometric="miniswhite")
    assert np.array_equal(read_labels(path), LABELS)
    tifffile.imwrite(path, LABELS == 0, photometric="miniswhite")
    assert np.array_equal(read_labels(path) > 0, LABELS > 0)


def test_files_may_end_in_capital_letters(root: Path) -> None:
    for folder in ("images", "labels"):
        (root / f"{folder}/a.png").rename(root / f"{folder}/a.PNG")
    sample = FolderDataset.open(root, "train", ("labels",))[0]
    assert np.array_equal(sample.image, GREY)
    assert np.array_equal(sample.labels, LABELS)


def test_a_list_may_begin_as_editors_of_windows_begin_it(root: Path) -> None:
    (root / "train.txt").write_bytes("b\r\na\r\n".encode("utf-8-sig"))
    assert FolderDataset.open(root, "train", ("labels",)).ids == ("b", "a")


def test_the_first_label_folder_that_has_a_mask_gives_it(root: Path) -> None:
    dataset = FolderDataset.open(root, "train", ("better", "labels"))
    assert dataset[0].labels.max() == 2
    assert dataset[1].labels.max() == 302


def test_a_cached_data_set_reads_a_file_once(root: Path) -> None:
    dataset = CachedDataset(FolderDataset.open(root, "train", ("labels",)))
    first = dataset[0]
    (root / "images/a.png").unlink()
    assert dataset[0] is first


def no_mask(root: Path) -> None:
    (root / "labels/b.png").unlink()


def other_size(root: Path) -> None:
    cv2.imwrite(str(root / "labels/b.png"), LABELS[:4])


def no_instance(root: Path) -> None:
    cv2.imwrite(str(root / "labels/b.png"), 0 * LABELS)


def corrupt_image(root: Path) -> None:
    path = root / "images/b.png"
    path.write_bytes(path.read_bytes()[:40])


def no_image(root: Path) -> None:
    (root / "images/b.png").unlink()


def colour_mask(root: Path) -> None:
    cv2.imwrite(str(root / "labels/b.png"), np.zeros((6, 8, 3), np.uint8))


def fractions(root: Path) -> None:
    (root / "labels/b.png").unlink()
    cv2.imwrite(str(root / "labels/b.tif"), LABELS.astype(np.float32))


def large_id(root: Path) -> None:
    (root / "labels/b.png").unlink()
    cv2.imwrite(str(root / "labels/b.tif"), (LABELS == 1) * np.uint32(2**31))


def negative_id(root: Path) -> None:
    (root / "labels/b.png").unlink()
    cv2.imwrite(str(root / "labels/b.tif"), LABELS.astype(np.int32) - 2)


def nothing(root: Path) -> None:
    (root / "labels/b.png").write_bytes(b"")


FAULTS = [
    (no_mask, "no mask"),
    (other_size, "(4, 8) pixels, the image has (6, 8)"),
    (no_instance, "no instance"),
    (corrupt_image, "the PNG data is truncated"),
    (no_image, "no such file"),
    (colour_mask, "3 channels"),
    (fractions, "float32 pixels, a label map has whole numbers"),
    (large_id, "ids from 0 to 2147483648, a label map has -1 to 16777216"),
    (negative_id, "ids from -2 to 0, a label map has -1 to 16777216"),
    (nothing, "does not decode"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_broken_file_is_reported_by_name_before_training_starts(
    root: Path, fault: Callable[[Path], None], words: str
) -> None:
    fault(root)
    with pytest.raises(DataError) as caught:
        open_datasets(Config(name="x", data=DataConfig(kind="folder")), root)
    (problem,) = caught.value.problems
    assert "/b." in problem
    assert words in problem


def test_images_without_an_instance_may_be_allowed(root: Path) -> None:
    no_instance(root)
    data = DataConfig(allow_empty=True)
    train, _ = open_datasets(Config(name="x", data=data), root)
    assert train[1].name == "b"
    assert not train[1].labels.any()
    with pytest.raises(DataError, match="allow_empty"):
        open_datasets(Config(name="x"), root)


def test_every_broken_file_has_its_line(root: Path) -> None:
    cv2.imwrite(str(root / "labels/a.png"), 0 * LABELS)
    no_mask(root)
    dataset = FolderDataset.open(root, "train", ("labels",))
    assert [Path(line.split(":")[0]).name for line in problems(dataset)] == ["a.png", "b.png"]


@pytest.mark.parametrize(("text", "words"), [(None, "no such split"), ("\n", "empty")])
def test_a_split_list_must_name_images(root: Path, text: str | None, words: str) -> None:
    if text is not None:
        (root / "new.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        FolderDataset.open(root, "new", ("labels",))


def test_reading_a_sound_pair_reports_nothing(root: Path) -> None:
    assert list(problems(FolderDataset.open(root, "train", ("labels",)))) == []
    assert read_image(root / "images/a.png").shape == read_labels(root / "labels/a.png").shape


def test_an_image_may_not_train_and_validate(root: Path) -> None:
    (root / "val.txt").write_text("c\na\n")
    with pytest.raises(DataError, match="a is in both train and val"):
        open_datasets(Config(name="x"), root)


def test_a_list_may_not_name_an_image_twice(root: Path) -> None:
    (root / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match=r"train\.txt: a stands there twice"):
        FolderDataset.open(root, "train", ("labels",))


def test_generated_fields_may_join_the_training_images(root: Path) -> None:
    data = DataConfig(drawn=3, image_size=48, min_objects=2, max_objects=3)
    train, val = open_datasets(Config(name="x", data=data), root)
    assert (len(train), len(val)) == (2 + 3, 1)
    assert train[1].name == "b"
    assert train[2].image.shape == (48, 48)


def test_a_full_cache_reads_again(root: Path) -> None:
    dataset = CachedDataset(FolderDataset.open(root, "train", ("labels",)), budget_bytes=10)
    assert dataset[0] is not dataset[0]


def test_all_that_cut_crops_on_a_machine_share_the_memory_of_the_cache(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = FolderDataset.open(root, "train", ("labels",))[0]
    monkeypatch.setattr(opening, "CACHE_BYTES", 4 * (sample.image.nbytes + sample.labels.nbytes))
    for processes, workers, kept in ((1, 0, 2), (2, 2, 1), (1, 4, 1), (2, 3, 0)):
        config = Config(name="x", optim=OptimConfig(workers=workers))
        train, _ = open_datasets(config, root, processes=processes)
        assert sum(train[index] is train[index] for index in range(2)) == kept


def test_resizing_keeps_ids_and_their_place(root: Path) -> None:
    labels = np.zeros((6, 8), np.uint16)
    labels[:3, :4], labels[3:, 4:] = 300, 40000
    cv2.imwrite(str(root / "labels/c.png"), labels)
    sample = open_split(DataConfig(resize=(12, 8)), root, "val")[0]
    assert sample.image.shape == sample.labels.shape == (12, 8)
    assert sample.labels[0, 0] == 300
    assert sample.labels[11, 7] == 40000
