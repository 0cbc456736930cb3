"""Score a model on a split."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.commands import record
from training.commands.command import Command
from training.commands.opening import add_scored, open_model, open_scored
from training.commands.show import picture_worst, print_score
from training.metrics.coco import CocoAp
from training.scoring.evaluation import evaluate


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_scored(command)
    command.add_argument("--out", type=Path, help="folder for figures and the worst images")


def run(options: argparse.Namespace) -> None:
    """Print the score, record it, and show the worst images."""
    network, recipe, name, config = open_model(
        options.model, threads=options.threads, decode=options.decode, tta=options.tta
    )
    dataset = open_scored(options, config, recipe, only=options.only)
    collected = CocoAp()
    score = evaluate(network, dataset, recipe, collected)
    coco = collected.result()
    title = record.title_of(options)
    print_score(title, score, coco)
    facts = record.describe(options, name, score.summary() | {"coco": coco})
    out = record.keep(options, name, title, facts)
    picture_worst(network, recipe, dataset, score, out / f"{title}-worst.png")


COMMAND = Command("evaluate", "score a model folder or checkpoint on a split", add_arguments, run)
