"""Draw example images."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from training.commands.command import Command, positive
from training.commands.show import write_picture
from training.data.dataset import Dataset
from training.data.synthetic import NucleiDataset, SticksDataset


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("kind", choices=["nuclei", "sticks"])
    command.add_argument("--out", type=Path, required=True, help="PNG file")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--size", type=positive, default=256)
    command.add_argument("--count", type=int, default=30, help="objects in the picture")
    command.add_argument("--radius", type=float, default=11.0, help="of a nucleus, in pixels")


def run(options: argparse.Namespace) -> None:
    """Write one drawn image."""
    scenes: Callable[..., Dataset] = SticksDataset
    if options.kind == "nuclei":
        scenes = partial(NucleiDataset, radius_px=options.radius)
    drawn = scenes(
        count=1,
        seed=options.seed,
        size=options.size,
        min_objects=options.count,
        max_objects=options.count,
    )
    write_picture(options.out, drawn[0].image)


COMMAND = Command("synthesize", "draw example images", add_arguments, run)
