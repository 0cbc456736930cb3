"""COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from service.arrays import Int32
from service.domain import Instance
from service.masks.rle import encode_labels

MOST_DETECTIONS = 1000
"""Best-scored instances per image and class that count. COCO's own 100 are fewer than the nuclei of
many images."""

Labels = Int32


@dataclass(slots=True)
class CocoAp:
    """Collects images, one by one, and evaluates them together."""

    _true: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)
    _sizes: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, true: Labels, classes: Labels, instances: Sequence[Instance]) -> None:
        """Add one image.

        Parameters
        ----------
        true : (H, W) int32
            0 background, 1..K, each of which is there; negative: ignored, as a crowd.
        classes : (K + 1,) int32
            Class 1..C of each, at its id.
        instances : sequence of Instance
            What was found.
        """
        self._sizes.append(true.shape)
        for rle, kind in zip(encode_labels(np.maximum(true, 0)), classes[1:], strict=True):
            self._add_true(rle, int(kind), crowd=False)
        if (true < 0).any():
            (crowd,) = encode_labels((true < 0).astype(np.int32))
            for kind in {int(kind) for kind in classes[1:]} | {i.category.id for i in instances}:
                self._add_true(crowd, kind, crowd=True)
        for instance in instances:
            entry = self._entry(len(self._found), instance.rle, instance.category.id)
            self._found.append(entry | {"score": instance.score})

    def result(self) -> dict[str, float]:
        """Evaluate: ``ap`` over IoU 0.5 to 0.95, ``ap50`` and ``ap75``; 0 where nothing counts."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every step
            judge = COCOeval(self._as_coco(self._true), self._as_coco(self._found), "segm")
            judge.params.areaRng, judge.params.areaRngLbl = [[0, np.inf]], ["all"]
            judge.params.maxDets = [1, 100, MOST_DETECTIONS]
            judge.evaluate()
            judge.accumulate()
        # (IoU thresholds, recalls, classes, areas, most detections); -1 where there is no truth.
        precision = judge.eval["precision"][:, :, :, 0, -1]
        at = {"ap": precision, "ap50": precision[0], "ap75": precision[5]}
        return {
            name: float(values[values >= 0].mean()) if (values >= 0).any() else 0.0
            for name, values in at.items()
        }

    def _add_true(self, rle: Any, kind: int, *, crowd: bool) -> None:
        self._true.append(self._entry(len(self._true), rle, kind) | {"iscrowd": int(crowd)})

    def _entry(self, index: int, rle: Any, kind: int) -> dict[str, Any]:
        """Describe an annotation; its id counts from 1, as pycocotools takes 0 for no match."""
        return {
            "id": index + 1,
            "image_id": len(self._sizes),
            "category_id": kind,
            "segmentation": rle,
            "area": 0,  # tells only areas apart, of which there is one
            "iscrowd": 0,
        }

    def _as_coco(self, annotations: Sequence[dict[str, Any]]) -> COCO:
        coco = COCO()
        kinds = sorted({entry["category_id"] for entry in self._true + self._found})
        coco.dataset = {
            "images": [
                {"id": number, "height": height, "width": width}
                for number, (height, width) in enumerate(self._sizes, start=1)
            ],
            "annotations": list(annotations),
            "categories": [{"id": kind} for kind in kinds],
        }
        coco.createIndex()
        return coco
