"""The schedule of a run: rate, end, what is due."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from training.config.experiment import Config
from training.loop import schedule
from training.loop.checkpoint import Checkpoint


def state(config: Config, *, step: int = 0, elapsed_s: float = 0.0, **optim: Any) -> Checkpoint:
    settings = {"steps": 100, "warmup_steps": 10, "learning_rate": 1.0, **optim}
    changed = replace(config, optim=replace(config.optim, **settings))
    return Checkpoint(changed, {}, {}, step=step, elapsed_s=elapsed_s)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.1), (9, 0.98), (50, 0.5), (100, 0.0)])
def test_the_rate_rises_in_a_line_and_falls_in_a_cosine(
    tiny: Config, step: int, rate: float
) -> None:
    assert schedule.learning_rate(state(tiny, step=step)) == pytest.approx(rate, abs=1e-3)


def test_the_clock_decides_where_it_is_further_on(tiny: Config) -> None:
    assert schedule.fraction(state(tiny, step=20, elapsed_s=30, max_minutes=1)) == 0.5
    assert schedule.fraction(state(tiny, step=80, elapsed_s=30, max_minutes=1)) == 0.8
    assert schedule.fraction(state(tiny, step=20, elapsed_s=30)) == 0.2


def test_a_run_ends_with_its_steps_or_its_patience(tiny: Config) -> None:
    tired = state(tiny, patience=2)
    tired.since_best = 2
    assert schedule.finished(tired)
    assert schedule.finished(state(tiny, step=100))
    assert not schedule.finished(state(tiny, step=99))


def test_the_average_forgets_its_first_steps(tiny: Config) -> None:
    early = schedule.ema_decay(state(tiny, step=1, ema=0.9))
    late = schedule.ema_decay(state(tiny, step=99, ema=0.9))
    assert early == pytest.approx(2 / 11)
    assert late == 0.9


@pytest.mark.parametrize(
    ("began_s", "elapsed_s", "due"),
    [(0, 5, False), (5, 10, True), (10, 15, False), (5, 25, True), (10, 10, False)],
)
def test_what_is_due_every_ten_seconds_counts_from_the_beginning_of_the_run(
    tiny: Config, began_s: float, elapsed_s: float, *, due: bool
) -> None:
    every = {"validate_every_s": 10, "validate_every_steps": 0, "save_every_s": 10}
    now = state(tiny, elapsed_s=elapsed_s, **every)
    assert schedule.validation_due(now, began_s) == due
    assert schedule.snapshot_due(now, began_s) == due


@pytest.mark.parametrize(("step", "due"), [(1, False), (4, True), (6, False), (8, True)])
def test_what_is_due_every_four_steps_counts_from_the_beginning_of_the_run(
    tiny: Config, step: int, *, due: bool
) -> None:
    now = state(tiny, step=step, validate_every_s=0, validate_every_steps=4)
    assert schedule.validation_due(now, 0.0) == due
