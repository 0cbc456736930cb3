"""COCO's JSON, on a small file made in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from service.masks import rle
from training.config.data import DataConfig
from training.config.experiment import Config
from training.data.dataset import DataError, Dataset, Sample
from training.data.opening import find_split, open_datasets, open_split

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)
COCO = DataConfig(kind="coco", classes=("dog", "cat"))
Content = dict[str, Any]


def content() -> Content:
    """Two images: a large cat as a polygon with a dog on it as runs, a crowd of dogs, a bird."""
    dog = np.zeros((6, 8), np.uint8)
    dog[1:3, 1:3] = 1
    rle = coco_mask.encode(np.asfortranarray(dog))
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 6, "width": 8},
            {"id": 9, "file_name": "b.png", "height": 6, "width": 8},
        ],
        "categories": [
            {"id": 17, "name": "cat"},
            {"id": 18, "name": "dog"},
            {"id": 16, "name": "bird"},
        ],
        "annotations": [
            annotation(1, 7, 18, {"size": rle["size"], "counts": rle["counts"].decode()}),
            annotation(2, 7, 17, [[0, 0, 4, 0, 4, 4, 0, 4]]),
            annotation(3, 7, 18, {"size": [6, 8], "counts": [36, 12]}) | {"iscrowd": 1},
            annotation(4, 9, 16, [[0, 0, 4, 0, 4, 4, 0, 4]]),
        ],
    }


def annotation(number: int, image: int, category: int, form: object) -> Content:
    return {"id": number, "image_id": image, "category_id": category, "segmentation": form}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The layout that COCO itself has."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "val2017" / name), GREY)
    write(tmp_path, content())
    return tmp_path


def write(root: Path, content: object) -> None:
    (root / "annotations/instances_val2017.json").write_text(json.dumps(content))


def first_sample(data: DataConfig, root: Path) -> Sample:
    return open_split(data, root, "val2017")[0]


def test_the_small_lies_on_the_large_and_crowds_are_ignored(root: Path) -> None:
    sample = first_sample(COCO, root)
    assert sample.name == "val2017/a.png"
    assert np.array_equal(sample.image, GREY)
    labels = sample.labels
    assert labels[0, 0] == 1
    assert labels[1:3, 1:3].tolist() == [[2, 2], [2, 2]]
    assert (labels[:, 6:] == -1).all()
    assert (labels == 2).sum() == 4
    assert (labels == 1).sum() == 16 - 4


def test_classes_come_in_the_order_asked_for(root: Path) -> None:
    sample = first_sample(COCO, root)
    assert sample.classes is not None
    assert sample.classes.tolist() == [0, 2, 1], "the cat is painted first, and is class 2"


def test_categories_of_one_name_are_one_class(root: Path) -> None:
    twice = content()
    twice["categories"].append({"id": 19, "name": "dog"})
    twice["annotations"][0]["category_id"] = 19
    twice["annotations"].append(annotation(5, 7, 18, [[5, 4, 7, 4, 7, 5, 5, 5]]))
    write(root, twice)
    classes = first_sample(COCO, root).classes
    assert classes is not None
    assert sorted(classes.tolist()) == [0, 1, 1, 2]


def test_without_classes_every_category_counts_and_all_are_one(root: Path) -> None:
    dataset = open_split(DataConfig(kind="coco"), root, "val2017")
    assert [dataset[i].name for i in range(len(dataset))] == ["val2017/a.png", "val2017/b.png"]
    assert dataset[1].classes is None


def test_polygons_are_filled_as_pycocotools_fills_them(root: Path) -> None:
    polygon = [[0.4, 0.7, 6.2, 1.1, 3.3, 5.6]]
    changed = content()
    changed["annotations"] = [annotation(1, 7, 17, polygon)]
    write(root, changed)
    wanted = rle.decode(coco_mask.frPyObjects(polygon, 6, 8)[0])
    assert np.array_equal(first_sample(COCO, root).labels, wanted)


def test_a_plain_file_beside_images_is_read_as_well(root: Path) -> None:
    (root / "annotations/instances_val2017.json").rename(root / "mine.json")
    (root / "val2017").rename(root / "images")
    assert find_split(COCO, root, "mine").ids == ("images/a.png", "images/b.png")


def test_a_mask_without_a_pixel_is_left_out(root: Path) -> None:
    new = content()
    new["annotations"][1]["segmentation"] = [[2, 3, 5, 3, 5, 3, 4, 3]]
    write(root, new)
    sample = first_sample(COCO, root)
    assert set(np.unique(sample.labels)) == {-1, 0, 1}
    assert sample.classes is not None
    assert sample.classes.tolist() == [0, 1], "the dog alone"


def test_images_without_an_instance_are_judged_and_learned_from_where_that_is_allowed(
    root: Path,
) -> None:
    (root / "val2017").rename(root / "images")
    for split, letters in (("train", "cd"), ("val", "ab")):
        new = content()
        for image, letter in zip(new["images"], letters, strict=True):
            cv2.imwrite(str(root / "images" / f"{letter}.png"), GREY)
            image["file_name"] = f"{letter}.png"
        write(root, new)
        (root / "annotations/instances_val2017.json").rename(root / f"{split}.json")
    sets = open_datasets(Config(name="mine", data=COCO), root)
    assert [names(each) for each in sets] == [["images/c.png"], ["images/a.png"]]
    judged = open_split(COCO, root, "val")
    assert names(judged) == ["images/a.png", "images/b.png"]
    assert not judged[1].labels.any()
    sets = open_datasets(Config(name="mine", data=replace(COCO, allow_empty=True)), root)
    assert [names(each) for each in sets] == [
        ["images/c.png", "images/d.png"],
        ["images/a.png", "images/b.png"],
    ]


def names(dataset: Dataset) -> list[str]:
    """The images of a data set."""
    return [dataset[index].name for index in range(len(dataset))]


def test_files_of_one_name_in_two_folders_are_two_images(root: Path) -> None:
    (root / "train2017").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(root / "train2017" / name), GREY)
    text = (root / "annotations/instances_val2017.json").read_text()
    (root / "annotations/instances_train2017.json").write_text(text)
    data = DataConfig(kind="coco", train="train2017", val="val2017")
    train_set, val_set = open_datasets(Config(name="mine", data=data), root)
    assert [train_set[0].name, val_set[0].name] == ["train2017/a.png", "val2017/a.png"]


def test_one_file_in_two_lists_is_one_image(root: Path) -> None:
    (root / "val2017").rename(root / "images")
    for split in ("train", "val"):
        write(root, content())
        (root / "annotations/instances_val2017.json").rename(root / f"{split}.json")
    with pytest.raises(DataError, match=r"images/a\.png is in both train and val"):
        open_datasets(Config(name="mine", data=replace(COCO, train="train", val="val")), root)


def changed(**entries: Any) -> Callable[[Path], None]:
    def write_changed(root: Path) -> None:
        new = content()
        new["annotations"][1] |= entries
        write(root, new)

    return write_changed


def no_image(root: Path) -> None:
    (root / "val2017/a.png").unlink()


def corrupt_image(root: Path) -> None:
    (root / "val2017/a.png").write_bytes(b"\x89PNG")


def other_image(root: Path) -> None:
    cv2.imwrite(str(root / "val2017/a.png"), GREY[:4])


def not_json(root: Path) -> None:
    (root / "annotations/instances_val2017.json").write_text('{"images": [')


def no_annotations(root: Path) -> None:
    write(root, {key: content()[key] for key in ("images", "categories")})


def no_height(root: Path) -> None:
    new = content()
    del new["images"][1]["height"]
    write(root, new)


def number_for_name(root: Path) -> None:
    new = content()
    new["images"][0]["file_name"] = 3
    write(root, new)


def list_for_id(root: Path) -> None:
    new = content()
    new["images"][0]["id"] = [7]
    write(root, new)


def only_crowds(root: Path) -> None:
    new = content()
    new["annotations"] = new["annotations"][2:]
    write(root, new)


def twice(root: Path) -> None:
    new = content()
    new["annotations"][1]["id"] = 1
    write(root, new)


def one_file(root: Path) -> None:
    new = content()
    new["images"][1]["file_name"] = "a.png"
    write(root, new)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (no_image, "a.png: no such file"),
        (corrupt_image, "a.png: the data is none of PNG, JPEG"),
        (other_image, "instances_val2017.json says (6, 8)"),
        (not_json, "instances_val2017.json: not JSON"),
        (no_annotations, "has no list 'annotations'"),
        (no_height, "images[1] has no height"),
        (number_for_name, "images[0]: file_name must be text, not 3"),
        (list_for_id, "images[0]: id must be a number or text, not [7]"),
        (changed(category_id=None), "annotations[1]: category_id must be a number or text"),
        (only_crowds, "no image with an instance of ['dog', 'cat']"),
        (twice, "id 1 stands twice in annotations"),
        (one_file, "file_name a.png stands twice in images"),
        (changed(image_id=8), "annotation 2 names image_id 8, which is not there"),
        (changed(category_id=5), "annotation 2 names category_id 5, which is not there"),
        (changed(category_id="17"), "annotation 2 names category_id '17', which is not there"),
        (changed(segmentation=None), "annotation 2: the segmentation is neither"),
        (changed(segmentation=[]), "annotation 2: the segmentation is neither"),
        (changed(segmentation=[1, 2, 3, 4, 5, 6]), "nor polygons [[x1, y1, x2"),
        (changed(segmentation=[[1, 2, 3, 4]]), "annotation 2: the segmentation is neither"),
        (changed(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "far outside the image"),
        (changed(segmentation=[[1, 2, 3, 4, 5, -1e9]]), "far outside the image"),
        (changed(segmentation=[[0.1, 0.1, 0.5, 0.1, 0.5, 1.0]]), "in pixels, not shares"),
        (changed(segmentation=[["x"] * 6]), "annotation 2: the segmentation is neither"),
        (changed(segmentation={"size": [6, 8], "counts": [3, 4]}), "annotation 2: "),
        (
            changed(segmentation={"size": [4, 4], "counts": [3, 13]}),
            "annotation 2: run lengths of (4, 4) pixels, the image has (6, 8)",
        ),
    ],
)
def test_what_is_broken_is_named(root: Path, fault: Callable[[Path], None], words: str) -> None:
    fault(root)
    with pytest.raises(DataError) as caught:
        open_split(COCO, root, "val2017")
    (problem,) = caught.value.problems
    assert words in problem


def test_a_category_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match="no category 'cow'"):
        find_split(DataConfig(kind="coco", classes=("cow",)), root, "val2017")


def test_a_split_without_file_is_refused(root: Path) -> None:
    with pytest.raises(DataError, match=r"train\.json: no such file, nor"):
        find_split(COCO, root, "train")
