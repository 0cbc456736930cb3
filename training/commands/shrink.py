"""Write a model that sends fewer bytes."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands.command import Command, console, positive
from training.data.files import read_image
from training.deployment.export import ExportError, open_artefact
from training.deployment.shrink import form_for, shrink


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("folder", type=Path, help="the model folder to start from")
    command.add_argument("--name", required=True, help="of the new model, written beside it")
    command.add_argument(
        "--stride", type=positive, default=1, help="pixels a side averaged into one"
    )
    command.add_argument("--dimensions", type=int, help="principal components to keep")
    command.add_argument("--bytes", action="store_true", help="8 bits in place of half precision")
    command.add_argument(
        "--images", type=Path, help="folder of PNG pictures that show what vectors there are"
    )


def run(options: argparse.Namespace) -> None:
    """Write the new model folder."""
    artefact = open_artefact(options.folder, threads=options.threads)
    paths = sorted(options.images.glob("*.png"))[:64] if options.images else []
    if (options.bytes or options.dimensions) and not paths:
        raise ExportError("--bytes and --dimensions need --images, a folder with PNG pictures")
    form = form_for(
        (artefact.predict(read_image(path)) for path in paths),
        artefact.recipe,
        stride=options.stride,
        dimensions=options.dimensions,
        quantise=options.bytes,
    )
    folder = shrink(options.folder, form, options.folder.parent, options.name)
    console.print(f"wrote {folder}", markup=False)


COMMAND = Command("shrink", "write a model that sends fewer bytes", add_arguments, run)
