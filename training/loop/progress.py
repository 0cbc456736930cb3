"""How a run is shown to people: progress bar, lines of a log, TensorBoard."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from torch.utils.tensorboard import SummaryWriter

from service.arrays import Int32
from service.domain import Prediction
from training.data.dataset import Sample
from training.loop.checkpoint import Checkpoint
from training.metrics.score import PRINTED, Score
from training.report import pictures

Labels = Int32

_EVERY_S = 10.0
"""Time between two lines about the steps."""


def line(score: Score) -> str:
    """Put the main figures of a score on one line."""
    aps = "  ".join(f"AP@{t} {score.ap(t):.3f}" for t in PRINTED)
    return (
        f"{aps}  mean {score.mean_ap:.3f}  PQ {score.pq:.3f}  SBD {score.sbd:.3f}  "
        f"FBD {score.fbd:.3f}  |DiC| {score.abs_dic:.2f}"
    )


class RunReport:
    """Shows a run as a progress bar, or as lines where nobody watches, and records it.

    Parameters
    ----------
    folder : Path
        Of the run; receives the resolved configuration, and what TensorBoard shows.
    console : Console
        Where to show it.
    """

    def __init__(self, folder: Path, console: Console) -> None:
        self._folder = folder
        self._writer: SummaryWriter  # from the beginning of the run on
        self._open = ExitStack()
        self._console = console
        self._progress = Progress(
            TextColumn("{task.percentage:>5.1f}%"), *Progress.get_default_columns()[1:2],
            TimeElapsedColumn(), TextColumn("{task.description}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=1.0)
        self._sums: dict[str, float] = {}
        self._count = 0
        self._done = 0.0
        self._said = time.monotonic()
        self._ap = ""

    def __enter__(self) -> RunReport:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._open.close()

    def on_begin(self, state: Checkpoint) -> None:
        """Write the resolved configuration, and begin or continue the record."""
        settings = json.dumps(state.config.to_dict(), indent=1)
        (self._folder / "config.json").write_text(settings + "\n")
        # What a killed run had recorded after its last snapshot comes again.
        writer = SummaryWriter(str(self._folder), purge_step=state.step + 1)
        self._writer = self._open.enter_context(writer)

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        """Show and record the means since the last time, every ten seconds."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        self._done = fraction
        if time.monotonic() - self._said >= _EVERY_S:
            self._say(state)

    def _say(self, state: Checkpoint) -> None:
        elapsed = time.monotonic() - self._said
        means = {name: value / self._count for name, value in self._sums.items()}
        parts = [
            f"{name.removeprefix('embedding/')} {value:.3f}"
            for name, value in means.items()
            if name.startswith("embedding/") and name != "embedding/total"
        ]
        text = (
            f"step {state.step}  loss {means['total']:.3f}: {', '.join(parts)}, "
            f"mask {means['foreground/total']:.3f}  {elapsed / self._count:.2f} s/step{self._ap}"
        )
        self._progress.update(self._task, completed=self._done, description=text)
        if not self._console.is_terminal:
            self._console.print(f"{self._done:6.1%} {text}", markup=False)
        for name, value in means.items():
            self._writer.add_scalar(name, value, state.step)
        self._sums, self._count, self._said = {}, 0, time.monotonic()

    def on_validation(self, state: Checkpoint, score: Score, *, best: bool) -> None:
        """Show and record the result, after the steps before it."""
        if self._count:
            self._say(state)
        self._ap = f"  AP@0.5 {score.ap(0.5):.3f}"
        mark = "  best" if best else ""
        minutes = state.elapsed_s / 60
        self._console.print(
            f"validation, step {state.step}, {minutes:.1f} min: {line(score)}{mark}", markup=False
        )
        for threshold in PRINTED:
            self._writer.add_scalar(f"validation/ap{threshold}", score.ap(threshold), state.step)
        self._writer.add_scalar("validation/mean_ap", score.mean_ap, state.step)
        self._writer.add_scalar("validation/sbd", score.sbd, state.step)
        self._writer.flush()
        self._said = time.monotonic()

    def on_example(
        self, state: Checkpoint, sample: Sample, prediction: Prediction, labels: Labels
    ) -> None:
        """Record a picture: image, truth, answer, foreground and embedding."""
        row = np.hstack(pictures.panels(sample.image, sample.labels, prediction, labels))
        self._writer.add_image(f"examples/{sample.name}", row, state.step, dataformats="HWC")


class Silence:
    """Says nothing: where several processes train, one reports."""

    def on_begin(self, state: Checkpoint) -> None:
        """Leave it unsaid."""

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        """Leave it unsaid."""

    def on_validation(self, state: Checkpoint, score: Score, *, best: bool) -> None:
        """Leave it unsaid."""

    def on_example(
        self, state: Checkpoint, sample: Sample, prediction: Prediction, labels: Labels
    ) -> None:
        """Leave it unshown."""
