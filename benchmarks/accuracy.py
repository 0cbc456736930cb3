"""Accuracy of a served model: every image of a list through HTTP, compared with its labels.

    python -m benchmarks.accuracy --data DIR --list stardist_test --labels labels_stardist
    python -m benchmarks.accuracy --data DIR --list val --magnify 3 --scale auto

The data folder has ``images/``, a folder of label images and lists of ids. AP is TP / (TP+FP+FN)
after one-to-one matching, averaged over images and, beside it, pooled. The second form shows what
`scale` is for: images as a stronger lens would give them.
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
    parser.add_argument("--magnify", type=float, default=1.0, help="enlarge images and labels")
    parser.add_argument("--scale", default="1", help="asked of the server")
    arguments = parser.parse_args()
    names = (arguments.data / f"{arguments.list}.txt").read_text().split()
    with running_gateway() as (address, _):
        url = f"{address}/segment?model={arguments.model}&scale={arguments.scale}"
        pairs = [
            _compare(url, arguments.data, arguments.labels, name, arguments.magnify)
            for name in names
        ]
    print(
        f"{arguments.model} on {arguments.list}, {len(pairs)} images magnified "
        f"{arguments.magnify:g} times, at scale {arguments.scale}, through HTTP"
    )
    print("| IoU | mean per-image AP | pooled AP | pooled F1 |\n|---|---|---|---|")
    for threshold in THRESHOLDS:
        matchings = [match(pair, threshold) for pair in pairs]
        everything = pooled(matchings)
        mean = float(np.mean([matching.ap for matching in matchings]))
        print(f"| {threshold} | {mean:.3f} | {everything.ap:.3f} | {everything.f1:.3f} |")
    print(f"SBD {np.mean([symmetric_best_dice(pair) for pair in pairs]):.3f}")


def _compare(url: str, data: Path, labels: str, name: str, magnify: float) -> Overlap:
    image, truth = (
        cv2.imread(str(data / folder / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        for folder in ("images", labels)
    )
    if image is None or truth is None:
        raise SystemExit(f"{data}: images/ or {labels}/ has no {name}.png that can be read")
    if magnify != 1:
        how = cv2.INTER_AREA if magnify < 1 else cv2.INTER_CUBIC
        image = cv2.resize(image, None, fx=magnify, fy=magnify, interpolation=how)
        truth = cv2.resize(truth, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    request = urllib.request.Request(  # noqa: S310 - loopback
        url,
        data=cv2.imencode(".png", image)[1].tobytes(),
        headers={"Content-Type": "image/png"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - loopback
        answer = orjson.loads(response.read())
    found = np.zeros((answer["image"]["height"], answer["image"]["width"]), np.int32)
    for instance in answer["instances"]:
        found[decode(instance["segmentation"])] = instance["id"]
    return overlap(truth.astype(np.int32), found)


if __name__ == "__main__":
    main()
