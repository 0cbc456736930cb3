"""Show a data set, and what a model makes of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from service.postprocess.quantised import dequantise
from service.recipe import Recipe
from training.commands.command import Command, console
from training.commands.opening import add_data, data_settings, open_model
from training.commands.show import write_picture
from training.config.data import DataConfig
from training.data.dataset import Dataset, Sample
from training.data.opening import open_split
from training.report import pictures
from training.scoring.decoding import Network, read, samples

SHEET = 24
"""Images on the contact sheet."""

ROWS = 6
"""Images of which the model's panels are shown."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("split")
    add_data(command)
    command.add_argument("--out", type=Path, default=Path("runs/inspect.png"))
    command.add_argument(
        "--model",
        type=Path,
        help="model folder or checkpoint: show foreground, embedding and a projection of it",
    )


def run(options: argparse.Namespace) -> None:
    """Print figures, write a contact sheet, and the panels of a model where one is given."""
    data = data_settings(options, DataConfig())
    dataset = open_split(data, options.data, options.split)
    _print_figures(dataset, data.classes)
    pages = [pictures.outlines(s.image, s.labels) for s in _spread(dataset, SHEET)]
    write_picture(options.out, pictures.sheet(pages, columns=6))
    if options.model is not None:
        network, recipe, _, _ = open_model(options.model, threads=options.threads)
        cells = [cell for s in _spread(dataset, ROWS) for cell in panels(network, recipe, s)]
        path = options.out.with_stem(f"{options.out.stem}-embeddings")
        write_picture(path, pictures.sheet(cells, columns=6))


def _print_figures(dataset: Dataset, classes: Sequence[str]) -> None:
    counts, areas, shapes = [], [], set()
    of_class: Counter[int] = Counter()
    for sample in samples(dataset):
        ids, sizes = np.unique(sample.labels[sample.labels > 0], return_counts=True)
        counts.append(ids.size)
        areas.extend(sizes.tolist())
        shapes.add(sample.labels.shape)
        of_class.update(sample.classes_at(ids).tolist())
    for name, values in (("instances per image", counts), ("pixels per instance", areas)):
        console.print(f"{name}: {_range(values)}")
    console.print(f"{len(dataset)} images, {sum(counts)} instances, {len(shapes)} sizes")
    if classes:
        named = [f"{of_class[number]} {name}" for number, name in enumerate(classes, start=1)]
        console.print(f"instances of each class: {', '.join(named)}", markup=False)


def _range(values: Sequence[int]) -> str:
    if not values:
        return "none"
    ordered = sorted(values)
    return f"min {ordered[0]}, median {ordered[len(ordered) // 2]}, max {ordered[-1]}"


def _spread(dataset: Dataset, count: int) -> list[Sample]:
    """Pick samples evenly over the data set."""
    step = max(1, len(dataset) // count)
    return [dataset[index] for index in range(0, len(dataset), step)][:count]


def panels(network: Network, recipe: Recipe, sample: Sample) -> list[pictures.Picture]:
    """Show what a model makes of one image: `pictures.panels`, and the projection of its vectors.

    Parameters
    ----------
    network, recipe
        The model.
    sample : Sample
        The image, and its truth.
    """
    prediction = network.predict(sample.image)
    found = read(prediction, recipe, sample.labels.shape)
    vectors = dequantise(prediction.embedding, recipe.embedding_scale, recipe.embedding_slope)
    prediction = replace(prediction, embedding=vectors)
    small = sample.labels[:: recipe.stride, :: recipe.stride]
    height, width = small.shape
    return [
        *pictures.panels(sample.image, sample.labels, prediction, found),
        pictures.projection(vectors[:, :height, :width], small),
    ]


COMMAND = Command(
    "inspect", "show a data set, and what a model makes of it: figures and pictures",
    add_arguments, run,
)  # fmt: skip
