"""Accuracy of a served model: every image of a list through HTTP, compared with its labels.

    python -m benchmarks.accuracy --data DIR --list stardist_test --labels labels_stardist

The data folder has ``images/``, a folder of label images and lists of ids. AP is TP / (TP+FP+FN)
after one-to-one matching, averaged over images and, beside it, pooled.
"""

from __future__ import annotations

import argparse
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import orjson

from benchmarks.running_gateway import running_gateway
from service.masks.rle import decode
from training.metrics.dice import symmetric_best_dice
from training.metrics.matching import Overlap, match, overlap, pooled
from training.metrics.score import THRESHOLDS


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--list", required=True, help="name of the list, without .txt")
    parser.add_argument("--labels", default="labels")
    parser.add_argument("--model", default="nuclei")
    arguments = parser.parse_args()
    names = (arguments.data / f"{arguments.list}.txt").read_text().split()
    with running_gateway() as (address, _):
        url = f"{address}/segment?model={arguments.model}"
        pairs = [_compare(url, arguments.data, arguments.labels, name) for name in names]
    print(f"{arguments.model} on {arguments.list}, {len(pairs)} images, through HTTP")
    print("| IoU | mean per-image AP | pooled AP | pooled F1 |\n|---|---|---|---|")
    for threshold in THRESHOLDS:
        matchings = [match(pair, threshold) for pair in pairs]
        everything = pooled(matchings)
        mean = float(np.mean([matching.ap for matching in matchings]))
        print(f"| {threshold} | {mean:.3f} | {everything.ap:.3f} | {everything.f1:.3f} |")
    print(f"SBD {np.mean([symmetric_best_dice(pair) for pair in pairs]):.3f}")


def _compare(url: str, data: Path, labels: str, name: str) -> Overlap:
    request = urllib.request.Request(  # noqa: S310 - loopback
        url,
        data=(data / "images" / f"{name}.png").read_bytes(),
        headers={"Content-Type": "image/png"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - loopback
        answer = orjson.loads(response.read())
    found = np.zeros((answer["image"]["height"], answer["image"]["width"]), np.int32)
    for instance in answer["instances"]:
        found[decode(instance["segmentation"])] = instance["id"]
    path = data / labels / f"{name}.png"
    truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if truth is None:
        raise SystemExit(f"{path}: no image can be read there")
    return overlap(truth.astype(np.int32), found)


if __name__ == "__main__":
    main()
