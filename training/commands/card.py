"""Write the model card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training.commands import record
from training.commands.command import Command, console
from training.commands.opening import add_checkpoint, open_checkpoint
from training.loop import checkpoint
from training.report.card import with_words_of, write_card


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_checkpoint(command)
    command.add_argument("--repository", type=Path, default=Path("model_repository"))


def run(options: argparse.Namespace) -> None:
    """Write settings and figures of an exported model's card again, under the words it has."""
    name = checkpoint.load(options.checkpoint).config.name
    path = options.repository / name / "MODEL_CARD.md"
    text = card_text(options.checkpoint)
    path.write_text(with_words_of(path.read_text(), text) if path.is_file() else text)
    console.print(f"wrote {path}", markup=False)


def card_text(path: Path) -> str:
    """Compose the card of a checkpoint with the figures recorded beside it."""
    state, model = open_checkpoint(path)
    evaluation = sorted(record.figures_of(path).glob("*.json"))
    facts = {
        "step": state.step,
        "elapsed_s": state.elapsed_s,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    results = [json.loads(file.read_text()) for file in evaluation]
    return write_card(state.config, state=facts, results=results)


COMMAND = Command(
    "card", "write the model card again, with the figures recorded since", add_arguments, run
)
