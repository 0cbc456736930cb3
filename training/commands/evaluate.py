"""Score a model on a split."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from training.commands.command import Command
from training.commands.opening import add_data, open_model, open_split
from training.commands.show import picture_worst, print_score
from training.data.dataset import SubsetDataset
from training.data.files import read_list
from training.evaluation import evaluate
from training.metrics.coco import CocoAp


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    command.add_argument("model", type=Path, help="model folder or checkpoint")
    command.add_argument("--split", help="list of the data folder; default: the validation list")
    add_data(command)
    command.add_argument("--only", type=Path, help="file of ids to report apart")
    command.add_argument(
        "--tta", action="store_true", help="join the answers to the image turned and mirrored"
    )
    command.add_argument("--title", help="name of the result; default: the split")
    command.add_argument("--out", type=Path, help="folder for figures and the worst images")
    command.add_argument("--record", type=Path, help="folder that `table` reads")


def run(options: argparse.Namespace) -> None:
    """Print the score, record it, and show the worst images."""
    network, recipe, name, config = open_model(options)
    dataset = open_split(options, config, recipe)
    if options.only is not None:
        dataset = SubsetDataset(dataset, read_list(options.only))
    collected = CocoAp()
    score = evaluate(network, dataset, recipe, collected)
    coco = collected.result()
    title = options.title or options.split or "validation"
    print_score(title, score, coco)
    out = options.out or Path("runs") / name / "evaluation"
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "model": name,
        "title": title,
        "command": shlex.join(["python", "-m", "training", *sys.argv[1:]]),
        **score.summary(),
        "coco": coco,
    }
    text = json.dumps(record, indent=1) + "\n"
    (out / f"{title}.json").write_text(text)
    if options.record is not None:
        options.record.mkdir(parents=True, exist_ok=True)
        (options.record / f"{name}-{title}.json").write_text(text)
    picture_worst(network, recipe, dataset, score, out / f"{title}-worst.png")


COMMAND = Command("evaluate", "score a model folder or checkpoint on a split", add_arguments, run)
