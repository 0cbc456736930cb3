"""COCO's JSON of instances: polygons and run lengths; crowds are ignored.

``annotations/instances_<split>.json`` and the images in ``<split>/``, as COCO itself comes, or
``<split>.json`` with the images in ``images/``, as labelling tools write it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from pycocotools import mask as coco_mask

from service.arrays import Bool
from service.masks import rle
from training.data.dataset import IGNORE, DataError, Sample
from training.data.files import read_image

Entry = Mapping[str, Any]
Mask = Bool

Kinds = tuple[tuple[type, ...], str]

_NUMBER: Final[Kinds] = ((int, float), "a number")
_TEXT: Final[Kinds] = ((str,), "text")
_ID: Final[Kinds] = ((int, float, str), "a number or text")
_TABLES: Final[Mapping[str, Mapping[str, Kinds]]] = MappingProxyType(
    {
        "images": {"id": _ID, "file_name": _TEXT, "height": _NUMBER, "width": _NUMBER},
        "annotations": {"id": _ID, "image_id": _ID, "category_id": _ID},
        "categories": {"id": _ID, "name": _TEXT},
    }
)
"""What is read of each table, of which types it may be, and what they are called."""


@dataclass(frozen=True, slots=True)
class CocoDataset:
    """Images described by one JSON file.

    Parameters
    ----------
    path : Path
        The file.
    folder : Path
        Where the images lie.
    images : tuple of mapping
        Entries of ``images``: also those without an instance, where all that is found is wrong.
    annotations : mapping of int to sequence of mapping
        Entries of ``annotations`` by image.
    class_of : mapping of int to int
        Class 1..C of each category; categories that are not in it are background.
    several : bool
        Whether there is more than one class.

    Notes
    -----
    Larger instances are painted first, so that a small one on a large one stays visible; crowds
    are ignored where no instance lies. A mask without a pixel is left out: COCO itself has a
    polygon without area, annotation 2206849 of ``train2017``.
    """

    path: Path
    folder: Path
    images: tuple[Entry, ...]
    annotations: Mapping[int, Sequence[Entry]]
    class_of: Mapping[int, int]
    several: bool

    @classmethod
    def open(cls, root: Path, split: str, classes: tuple[str, ...]) -> CocoDataset:
        """Read the file of a split.

        Parameters
        ----------
        root : Path
            The data set.
        split : str
            Such as ``train2017``.
        classes : tuple of str
            Names of categories in the order of the foreground maps; empty: all as one class.

        Raises
        ------
        DataError
            If the file is missing or broken, or its ids do not agree.
        """
        path, folder = _locate(root, split)
        content = _read(path)
        class_of = _class_of(path, content["categories"], classes)
        _require_ids(path, content)
        annotations: dict[int, list[Entry]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry["category_id"] in class_of:
                annotations[entry["image_id"]].append(entry)
        images = tuple(content["images"])
        dataset = cls(path, folder, images, annotations, class_of, bool(classes))
        if not len(dataset.with_instances()):
            raise DataError(
                [f"{path}: no image with an instance of {list(classes) or 'any class'}"]
            )
        return dataset

    def with_instances(self) -> CocoDataset:
        """Keep the images that have an instance to learn from."""
        images = tuple(
            image
            for image in self.images
            if any(not entry.get("iscrowd") for entry in self.annotations.get(image["id"], ()))
        )
        return replace(self, images=images)

    @property
    def ids(self) -> tuple[str, ...]:
        """Folder and file name of the images: COCO's splits may both have a ``0001.jpg``."""
        return tuple(self._id(image) for image in self.images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        image = self.images[index]
        path = self.folder / image["file_name"]
        pixels = read_image(path)
        size = pixels.shape[:2]
        stated = (image["height"], image["width"])
        if size != stated:
            raise DataError([f"{path}: {size} pixels, {self.path} says {stated}"])
        labels = np.zeros(size, np.int32)
        things = []
        for entry in self.annotations.get(image["id"], ()):
            mask = self._mask(entry, size)
            area_px = int(np.count_nonzero(mask))
            if entry.get("iscrowd"):
                labels[mask] = IGNORE
            elif area_px:
                things.append((area_px, entry, mask))
        things.sort(key=lambda thing: -thing[0])
        for number, (_, _, mask) in enumerate(things, start=1):
            labels[mask] = number
        classes = [0, *(self.class_of[entry["category_id"]] for _, entry, _ in things)]
        several = np.array(classes, np.int32) if self.several else None
        return Sample(self._id(image), pixels, labels, several)

    def _id(self, image: Entry) -> str:
        return f"{self.folder.name}/{image['file_name']}"

    def _mask(self, entry: Entry, size: tuple[int, ...]) -> Mask:
        try:
            return fill(entry.get("segmentation"), size)
        except ValueError as error:
            raise DataError([f"{self.path}: annotation {entry['id']}: {error}"]) from error


def fill(form: object, size: tuple[int, ...]) -> Mask:
    """Draw a COCO segmentation.

    Parameters
    ----------
    form : list of list of float, or mapping
        Polygons ``[x1, y1, x2, y2, ...]``, or run lengths of either flavour.
    size : tuple of int
        ``(H, W)`` of the image.

    Returns
    -------
    (H, W) bool
        Polygons are filled as pycocotools does it.

    Raises
    ------
    ValueError
        If it is neither, of another size, far outside the image, or in shares of it.
    """
    if isinstance(form, Mapping):
        mask = rle.decode(form)
        if mask.shape != size:
            raise ValueError(f"run lengths of {mask.shape} pixels, the image has {size}")
        return mask
    if not isinstance(form, list) or not form or not all(_is_polygon(part) for part in form):
        raise ValueError(
            "the segmentation is neither run lengths nor polygons [[x1, y1, x2, y2, x3, y3, ...]]"
        )
    corners = [number for part in form for number in part]
    # Of whole numbers alone they may be those of the first pixel, or of nothing.
    if all(0 <= number <= 1 for number in corners) and any(number % 1 for number in corners):
        raise ValueError("corners of a polygon are in pixels, not shares of the image")
    reach = 2 * max(size)  # pycocotools walks along every edge: a far corner, or NaN, fills memory
    if not all(abs(number) <= reach for part in form for number in part):
        raise ValueError("a corner of the polygon lies far outside the image")
    parts = coco_mask.frPyObjects(form, *size)
    return rle.decode(coco_mask.merge(parts))


def _is_polygon(part: object) -> bool:
    """Three corners or more; pycocotools takes four numbers for a box and crashes on less."""
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(isinstance(number, (int, float)) for number in part)
    )


def _locate(root: Path, split: str) -> tuple[Path, Path]:
    own = root / "annotations" / f"instances_{split}.json"
    if own.is_file():
        return own, root / split
    path = root / f"{split}.json"
    if not path.is_file():
        raise DataError([f"{path}: no such file, nor {own}"])
    return path, root / "images"


def _read(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content: Any = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError([f"{path}: not JSON: {error}"]) from error
    for table, keys in _TABLES.items():
        entries = content.get(table) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise DataError([f"{path}: has no list {table!r}"])
        for place, entry in enumerate(entries):
            missing = sorted(set(keys) - set(entry)) if isinstance(entry, dict) else sorted(keys)
            if missing:
                raise DataError([f"{path}: {table}[{place}] has no {', '.join(missing)}"])
            for key, (kinds, words) in keys.items():
                if not isinstance(entry[key], kinds):
                    raise DataError(
                        [f"{path}: {table}[{place}]: {key} must be {words}, not {entry[key]!r}"]
                    )
    return dict(content)


def _class_of(path: Path, categories: Sequence[Entry], classes: tuple[str, ...]) -> dict[int, int]:
    if not classes:
        return {entry["id"]: 1 for entry in categories}
    known = sorted({entry["name"] for entry in categories})
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise DataError([f"{path}: no category {name!r}, only {known}" for name in unknown])
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    # Several may have one name, as of a category and what it is a kind of.
    return {entry["id"]: numbers[entry["name"]] for entry in categories if entry["name"] in numbers}


def _require_ids(path: Path, content: Mapping[str, Sequence[Entry]]) -> None:
    """Refuse ids and files that stand twice, and annotations that point nowhere."""
    wrong = []
    for table, key in (
        ("images", "id"), ("images", "file_name"), ("annotations", "id"), ("categories", "id")
    ):  # fmt: skip
        counts = Counter(entry[key] for entry in content[table])
        wrong += [f"{path}: {key} {i} stands twice in {table}" for i, n in counts.items() if n > 1]
    for key, table in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[table]}
        wrong += [
            f"{path}: annotation {entry['id']} names {key} {entry[key]!r}, which is not there"
            for entry in content["annotations"]
            if entry[key] not in known
        ]
    if wrong:
        raise DataError(wrong)
