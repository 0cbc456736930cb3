"""Scores as lines, pictures as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2

from service.recipe import Recipe
from training.commands.command import console
from training.data.dataset import Dataset
from training.loop.progress import line
from training.metrics.score import PRINTED, Score
from training.report import pictures
from training.scoring.decoding import Network, samples, segment


def print_score(title: str, score: Score, coco: Mapping[str, float] | None = None) -> None:
    """Print the main figures of a score, and COCO's where they were computed."""
    console.print(f"{title}: {len(score.images)} images", markup=False)
    console.print("  " + line(score), markup=False)
    pooled = "  ".join(f"{score.pooled(t).ap:.3f}" for t in PRINTED)
    console.print(f"  pooled AP {pooled}  F1@0.5 {score.pooled(0.5).f1:.3f}", markup=False)
    console.print(f"  {score.faults}", markup=False)
    if coco is not None:
        figures = "  ".join(f"{name} {value:.3f}" for name, value in coco.items())
        console.print(f"  COCO {figures}", markup=False)


def write_picture(path: Path, picture: pictures.Picture) -> None:
    """Write a picture and say where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), picture if picture.ndim == 2 else picture[:, :, ::-1])
    except cv2.error as error:  # of an ending that it does not know
        raise OSError(f"{path}: no format of pictures ends so; .png does") from error
    if not written:
        raise OSError(f"{path}: the picture could not be written")
    console.print(f"wrote {path}", markup=False)


def picture_worst(
    network: Network, recipe: Recipe, dataset: Dataset, score: Score, path: Path
) -> None:
    """Show the six worst images: picture, truth, answer."""
    worst = sorted(score.images, key=lambda image: image.matchings[0.7].ap)[:6]
    names = [image.name for image in worst]
    shown = {sample.name: sample for sample in samples(dataset) if sample.name in names}
    cells = []
    for name in names:
        sample = shown[name]
        answer = segment(network, sample.image, recipe)
        cells += [
            pictures.stretch(sample.image),
            pictures.outlines(sample.image, sample.labels),
            pictures.outlines(sample.image, answer),
        ]
    write_picture(path, pictures.sheet(cells, columns=3))
