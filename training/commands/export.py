"""Write the folder that is served."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands import card
from training.commands.command import Command, console
from training.commands.opening import open_checkpoint
from training.config.checks import require
from training.data.files import read_image
from training.deployment import export

GOLDEN_SIDE_PX = 256
"""The golden image travels in the model's configuration, which every gateway asks for."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    card.add_arguments(command)
    command.add_argument(
        "--golden", type=Path, metavar="IMAGE",
        help="small image of the gateway's self-test, which gets to see it; default: a drawn one",
    )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Export the averaged network with its card."""
    state, model = open_checkpoint(options.checkpoint)
    golden = None
    if options.golden is not None:
        golden = read_image(options.golden)
        side = max(golden.shape[:2])
        require(side <= GOLDEN_SIDE_PX, f"--golden: {side} px a side, at most {GOLDEN_SIDE_PX}")
    text = card.card_text(options.checkpoint)
    folder = export.export(model, state.config, options.repository, card=text, golden=golden)
    console.print(f"wrote {folder}", markup=False)


COMMAND = Command("export", "write the model folder that is served", add_arguments, run)
