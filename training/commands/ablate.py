"""Tell what each half of a model costs."""

from __future__ import annotations

import argparse

from training.commands import record
from training.commands.command import Command, console
from training.commands.opening import add_scored, open_model, open_scored
from training.loop.progress import line
from training.scoring.ablation import ablate


def run(options: argparse.Namespace) -> None:
    """Print the score with predicted and true foreground, clustered and true grouping."""
    network, recipe, name, config = open_model(
        options.model, threads=options.threads, decode=options.decode, tta=options.tta
    )
    dataset = open_scored(options, config, recipe, only=options.only)
    rows = []
    for foreground, grouping, score in ablate(network, dataset, recipe):
        console.print(f"{foreground} foreground, {grouping}: {line(score)}", markup=False)
        rows.append({"foreground": foreground, "grouping": grouping, **score.summary()})
    if options.record is not None:
        facts = record.describe(options, name, {"images": len(dataset), "rows": rows})
        title = record.title_of(options)
        record.write(options.record / f"{name}-{title}-ablation.json", facts)


COMMAND = Command("ablate", "tell what foreground and grouping cost", add_scored, run)
