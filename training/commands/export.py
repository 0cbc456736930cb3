"""Write the folder that is served."""

from __future__ import annotations

import argparse

from training.commands.card import add_arguments, card_text
from training.commands.command import Command, console
from training.commands.opening import open_checkpoint
from training.deployment import export


def run(options: argparse.Namespace) -> None:
    """Export the averaged network with its card."""
    state, model = open_checkpoint(options.checkpoint)
    folder = export.export(
        model, state.config, options.repository, card=card_text(options.checkpoint)
    )
    console.print(f"wrote {folder}", markup=False)


COMMAND = Command("export", "write the model folder that is served", add_arguments, run)
