"""The training loop: progress, resume to the same numbers, NaN, early stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.unit.training.conftest import Recorder
from training import checkpoint, engine
from training.checkpoint import CheckpointError
from training.config.experiment import Config
from training.data.synthetic import NucleiDataset


def test_the_loss_falls(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = replace(tiny, optim=replace(tiny.optim, steps=30, validate_every_steps=30))
    engine.train(config, train_set, val_set, tmp_path, recorder)
    assert sum(recorder.totals[-5:]) < 0.85 * sum(recorder.totals[:5])


def test_a_run_reports_every_step_and_validates_when_due(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    state = engine.train(tiny, train_set, val_set, tmp_path, recorder)
    assert state.step == len(recorder.totals) == 6
    assert recorder.fractions == [step / 6 for step in range(6)]
    assert len(recorder.scores) == 2
    assert recorder.shown == [val_set[0].name, val_set[1].name] * 2
    assert checkpoint.load(tmp_path / "best.pt").best == state.best


def test_a_stopped_run_continues_to_the_same_numbers(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    whole, rest = Recorder(), Recorder()
    expected = engine.train(tiny, train_set, val_set, tmp_path / "whole", whole)

    class Killed(Recorder):
        """Ends the run right after the first snapshot."""

        def on_step(self, state: checkpoint.Checkpoint, fraction: float, terms: object) -> None:
            if state.step == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.train(tiny, train_set, val_set, tmp_path / "cut", Killed())
    state = engine.train(tiny, train_set, val_set, tmp_path / "cut", rest)
    assert rest.totals == whole.totals[3:]
    assert all(torch.equal(state.model[name], expected.model[name]) for name in expected.model)
    assert all(
        torch.equal(state.average[name], expected.average[name]) for name in expected.average
    )


def test_accumulated_batches_are_other_crops_than_the_next_step(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = replace(tiny, optim=replace(tiny.optim, accumulate=2, steps=2))
    state = engine.train(config, train_set, val_set, tmp_path, recorder)
    first, second = (engine.batch_at(train_set, config, step)[0] for step in (0, 1))
    assert state.step == 2
    assert not torch.equal(first, second)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(
    tiny: Config, val_set: NucleiDataset, tmp_path: Path, recorder: Recorder
) -> None:
    config = replace(tiny, optim=replace(tiny.optim, learning_rate=1e30, steps=50, clip=1e30))
    with pytest.raises(engine.NotFinite, match="not finite"):
        engine.train(config, val_set, val_set, tmp_path, recorder)
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    assert saved["images"].shape == (2, 3, 64, 64)
    assert saved["labels"].shape == (2, 64, 64)


def test_a_run_stops_when_validation_no_longer_improves(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    optim = replace(
        tiny.optim, learning_rate=0.0, steps=40, validate_every_steps=1, patience=2, ema=0.0
    )
    state = engine.train(replace(tiny, optim=optim), train_set, val_set, tmp_path, recorder)
    assert state.step == 3
    assert state.since_best == 2


def test_the_clock_ends_a_run_that_has_steps_left(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = replace(tiny, optim=replace(tiny.optim, steps=10**6, max_minutes=1 / 600))
    state = engine.train(config, train_set, val_set, tmp_path, recorder)
    assert 1 <= state.step < 10**6
    assert len(recorder.scores) >= 1


def test_a_file_with_other_keys_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="expected"):
        checkpoint.load(tmp_path / "x.pt")
