"""Show a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training import pictures
from training.commands.command import Command, console
from training.commands.opening import add_data, data_settings
from training.commands.show import write_picture
from training.config.data import DataConfig
from training.data.opening import open_split
from training.decoding import samples


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("split")
    add_data(command)
    command.add_argument("--out", type=Path, default=Path("runs/inspect.png"))


def run(options: argparse.Namespace) -> None:
    """Print figures and write a contact sheet."""
    dataset = open_split(data_settings(options, DataConfig()), options.data, options.split)
    counts, areas, shapes = [], [], []
    for sample in samples(dataset):
        sizes = torch.bincount(torch.from_numpy(sample.labels).flatten().clamp_min(0))[1:]
        counts.append(int((sizes > 0).sum()))
        areas.extend(sizes[sizes > 0].tolist())
        shapes.append(sample.labels.shape)
    for name, values in (("instances per image", counts), ("pixels per instance", areas)):
        ordered = sorted(values)
        console.print(
            f"{name}: min {ordered[0]}, median {ordered[len(ordered) // 2]}, max {ordered[-1]}"
        )
    console.print(f"{len(dataset)} images, {sum(counts)} instances, {len(set(shapes))} sizes")
    chosen = [dataset[i] for i in range(0, len(dataset), max(1, len(dataset) // 24))][:24]
    pages = [pictures.outlines(sample.image, sample.labels) for sample in chosen]
    write_picture(options.out, pictures.sheet(pages, columns=6))


COMMAND = Command("inspect", "show a data set: figures and a contact sheet", add_arguments, run)
