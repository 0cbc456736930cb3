"""What an evaluation leaves behind for the page of results and the model card."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def title_of(options: argparse.Namespace) -> str:
    """Give the name of the result: a part of a split has another than the whole."""
    split = options.split or "validation"
    return str(options.title or (f"{split}-{options.only.stem}" if options.only else split))


def figures_of(checkpoint: Path) -> Path:
    """Give the folder of what was measured of a checkpoint: each of a run has its own."""
    stem = checkpoint.stem
    return checkpoint.parent / ("evaluation" if stem == "best" else f"evaluation-{stem}")


def folder_of(options: argparse.Namespace, model: str) -> Path:
    """Give the folder that the card reads, unless the answers are not those of the model itself."""
    if options.model.is_file() and not options.tta and not options.decode:
        return figures_of(options.model)
    return Path("runs") / model / "evaluation"


def describe(options: argparse.Namespace, model: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Say which model and images the facts are about, and which command found them."""
    return {
        "model": model,
        "title": title_of(options),
        "command": command_line(),
        **facts,
    }


def command_line() -> str:
    """Give the command that runs, with DIR for the folder of data, which one machine has there."""
    words = ["python", "-m", "training", *sys.argv[1:]]
    for at, word in enumerate(words):
        if word == "--data" and at + 1 < len(words):
            words[at + 1] = "DIR"
        elif word.startswith("--data="):
            words[at] = "--data=DIR"
    return shlex.join(words)


def keep(options: argparse.Namespace, model: str, title: str, facts: Mapping[str, Any]) -> Path:
    """Write a record where the card reads it, and where the page does on request; give the first.

    Parameters
    ----------
    options : Namespace
        ``out`` and ``record``, and what `folder_of` reads.
    model, title : str
        What the record is about.
    facts : mapping
        As `describe` gives it.

    Returns
    -------
    Path
        The folder, for pictures beside it.
    """
    out = Path(options.out or folder_of(options, model))
    write(out / f"{title}.json", facts)
    if options.record is not None:
        write(options.record / f"{model}-{title}.json", facts)
    return out


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
