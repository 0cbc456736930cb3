"""What smaller outputs cost in accuracy: the shipped network's embedding, shrunk before decoding.

    python -m benchmarks.fewer_bytes --data DIR [--list stardist_test] [--limit N]

Each form is what a network would send if its last layer made it: at a stride (the mean of each
block, with the foreground at full size), in 8 bits (one scale for the model), or in fewer
dimensions (principal components). Nothing is trained anew, so a network made for the form can only
do better. Bytes are those of one 512x512 image.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from service.domain import Prediction
from service.recipe import Recipe
from training.decoding import read
from training.export import open_artefact
from training.metrics.matching import match, overlap

SIDE = 512
THRESHOLDS = (0.5, 0.7, 0.9)
QUANTILE = 0.9999

Floats = npt.NDArray[np.float32]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--list", default="stardist_test")
    parser.add_argument("--labels", default="labels_stardist")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    artefact = open_artefact(Path("model_repository") / arguments.model, threads=2)
    names = (arguments.data / f"{arguments.list}.txt").read_text().split()[: arguments.limit]
    images = [cv2.imread(str(arguments.data / "images" / f"{name}.png")) for name in names]
    predictions = [artefact.predict(cv2.cvtColor(i, cv2.COLOR_BGR2RGB)) for i in images]
    truths = [
        cv2.imread(str(arguments.data / arguments.labels / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        for name in names
    ]
    everything = np.concatenate(
        [p.embedding.reshape(len(p.embedding), -1)[:, ::37] for p in predictions], axis=1
    ).astype(np.float32)
    print(f"{arguments.model} on {len(names)} images of {arguments.list}")
    print("| embedding | MiB out at 512x512 | AP@0.5 | AP@0.7 | AP@0.9 | decoding ms |")
    print("|---|---|---|---|---|---|")
    for name, stride, values_bytes, shrink in forms(everything, artefact.recipe):
        recipe = replace(artefact.recipe, stride=stride)
        scores, spent = [], []
        for prediction, image, truth in zip(predictions, images, truths, strict=True):
            small = replace_embedding(prediction, shrink(prediction.embedding.astype(np.float32)))
            began = time.perf_counter()
            labels = read(small, recipe, image.shape[:2])
            spent.append((time.perf_counter() - began) * 1e3)
            pair = overlap(truth.astype(np.int32), labels)
            scores.append([match(pair, threshold).ap for threshold in THRESHOLDS])
        classes = len(artefact.recipe.classes)
        out = (values_bytes * (SIDE // stride) ** 2 + 2 * classes * SIDE**2) / 2**20
        accuracy = " | ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
        print(f"| {name} | {out:.2f} | {accuracy} | {np.median(spent):.1f} |", flush=True)


def forms(
    everything: Floats, recipe: Recipe
) -> list[tuple[str, int, int, Callable[[Floats], Any]]]:
    """Return name, stride, bytes per embedding pixel and the shrinking itself."""
    size = recipe.embedding_size
    scale = float(np.quantile(np.abs(everything), QUANTILE)) / 127
    # Columns by growing variance, so the last ones are the ones to keep.
    axes = np.linalg.eigh(np.cov(everything))[1][:, ::-1]

    def quantised(embedding: Floats) -> Floats:
        return np.clip(np.round(embedding / scale), -127, 127).astype(np.float32) * np.float32(
            scale
        )

    def projected(count: int) -> Callable[[Floats], Floats]:
        basis = axes[:, :count].T.astype(np.float32)
        return lambda embedding: np.tensordot(basis, embedding, axes=1)

    return [
        (f"{size} x FP16", recipe.stride, 2 * size, lambda e: e),
        (f"{size} x 8 bits", recipe.stride, size, quantised),
        (f"{size} x FP16, stride 2", 2, 2 * size, lambda e: blocks(e, 2)),
        (f"{size} x 8 bits, stride 2", 2, size, lambda e: blocks(quantised(e), 2)),
        (f"{size} x FP16, stride 4", 4, 2 * size, lambda e: blocks(e, 4)),
        *(
            (f"{count} x FP16", recipe.stride, 2 * count, projected(count))
            for count in range(size - 1, 1, -1)
        ),
    ]


def blocks(embedding: Floats, stride: int) -> Floats:
    """Return the mean of every block of stride x stride."""
    size, height, width = embedding.shape
    return embedding.reshape(size, height // stride, stride, width // stride, stride).mean(
        axis=(2, 4), dtype=np.float32
    )


def replace_embedding(prediction: Prediction, embedding: Floats) -> Prediction:
    """Return the prediction with another embedding, in half precision as it would arrive."""
    return replace(prediction, embedding=embedding.astype(np.float16))


if __name__ == "__main__":
    main()
