"""Score a model on images that are less than perfect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from service.recipe import Recipe
from training.commands import record
from training.commands.command import Command, console
from training.commands.opening import add_scored, open_model, open_scored
from training.commands.show import write_picture
from training.data.dataset import Dataset
from training.data.degradations import DEGRADATIONS
from training.metrics.score import Score
from training.report import pictures
from training.report.degraded_table import CLEAN
from training.scoring.decoding import Network, segment
from training.scoring.degraded import DegradedDataset, evaluate_degraded
from training.scoring.evaluation import evaluate


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_scored(command)
    command.add_argument(
        "--strength", type=_share, default=0.5, help="of what is done to the images, 0 to 1"
    )
    command.add_argument("--out", type=Path, help="folder for figures and a picture of every kind")


def run(options: argparse.Namespace) -> None:
    """Print a line for every kind of degraded images, record them, and show one image in all."""
    network, recipe, name, config = open_model(
        options.model, threads=options.threads, decode=options.decode, tta=options.tta
    )
    dataset = open_scored(options, config, recipe, only=options.only)
    clean = evaluate(network, dataset, recipe)
    console.print(_line(CLEAN, clean), markup=False)
    degraded = {}
    for kind, score in evaluate_degraded(network, dataset, recipe, options.strength):
        console.print(_line(kind, score), markup=False)
        degraded[kind] = _figures(score)
    title = f"{record.title_of(options)}-degraded"
    facts = record.describe(options, name, {
        "title": title,
        "images": len(clean.images),
        "strength": options.strength,
        "clean": _figures(clean),
        "degraded": degraded,
    })  # fmt: skip
    out = record.keep(options, name, title, facts)
    _picture(network, recipe, dataset, options.strength, out / f"{title}.png")


def _figures(score: Score) -> dict[str, Any]:
    summary = score.summary()
    return {key: summary[key] for key in ("mean_ap", "ap")}


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie in [0, 1]")
    return value


def _line(kind: str, score: Score) -> str:
    ap = "  ".join(f"{score.ap(threshold):.3f}" for threshold in (0.5, 0.7, 0.9))
    return f"{kind:12} mean AP {score.mean_ap:.3f}  AP@0.5, 0.7, 0.9  {ap}"


def _picture(
    network: Network, recipe: Recipe, dataset: Dataset, strength: float, path: Path
) -> None:
    """Show the image of the median number of objects in every kind, and what is found."""
    counts = [int(dataset[index].labels.max()) for index in range(len(dataset))]
    middle = int(np.argsort(counts, kind="stable")[len(counts) // 2])
    cells = []
    for kind in DEGRADATIONS:
        image = DegradedDataset(dataset, kind, strength)[middle].image
        found = segment(network, image, recipe)
        cells += [pictures.stretch(image), pictures.outlines(image, found)]
    write_picture(path, pictures.sheet(cells, columns=4))


COMMAND = Command(
    "robustness",
    "score a model on a split whose images are noisy, shaded, marked, and so on",
    add_arguments,
    run,
)
