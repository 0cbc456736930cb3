"""The training loop: progress, the same numbers again, NaN, early stop."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.disk import files_of_at_most
from tests.unit.training.conftest import TINY, Recorder
from tests.unit.training.test_warm_start import resnet_weights, write_folder
from training.config.experiment import Config
from training.config.model import ModelConfig
from training.data.synthetic import NucleiDataset
from training.loop import checkpoint, engine
from training.loop.checkpoint import Checkpoint, CheckpointError
from training.loop.ranks import Ranks
from training.loop.run import open_run
from training.loop.warm_start import WarmStartError
from training.models.build import build_model
from training.models.serving import served
from training.report.card import write_card


def with_optim(config: Config, **settings: Any) -> Config:
    return replace(config, optim=replace(config.optim, **settings))


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


def test_the_loss_falls(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = with_optim(tiny, steps=30, validate_every_steps=30)
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


def test_a_finished_run_is_left_as_it_is(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    expected = engine.train(tiny, train_set, val_set, tmp_path, Recorder())
    before = (tmp_path / "last.pt").stat().st_mtime_ns
    state = engine.train(tiny, train_set, val_set, tmp_path, recorder)
    assert (recorder.totals, recorder.scores) == ([], [])
    assert (tmp_path / "last.pt").stat().st_mtime_ns == before
    assert same(state.average, expected.average)


class Killed(Recorder):
    """Ends the run at a step, before anything is saved there."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_step(self, state: Checkpoint, fraction: float, terms: Mapping[str, float]) -> None:
        super().on_step(state, fraction, terms)
        if state.step == self.step:
            raise KeyboardInterrupt


ACCUMULATED = with_optim(TINY, accumulate=2, bfloat16=True)
DROPOUT = replace(TINY, model=ModelConfig(network="erfnet", widths=(4, 8, 8)))


@pytest.mark.parametrize(
    ("config", "step"),
    [
        *(pytest.param(TINY, step, id=f"step {step}") for step in (1, 3, 4, 6)),
        pytest.param(ACCUMULATED, 4, id="accumulated in bfloat16"),
        pytest.param(DROPOUT, 4, id="dropout"),
    ],
)
def test_a_stopped_run_continues_to_the_same_numbers(
    train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path, config: Config, step: int
) -> None:
    config = with_optim(config, validate_every_steps=2)
    whole, cut, rest = Recorder(), Killed(step), Recorder()
    expected = engine.train(config, train_set, val_set, tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        engine.train(config, train_set, val_set, tmp_path / "cut", cut)
    state = engine.train(config, train_set, val_set, tmp_path / "cut", rest)
    # What was done since the last validation is done again.
    saved = (step - 1) // 2 * 2
    assert rest.begun == [saved]
    assert rest.totals == whole.totals[saved:]
    assert rest.scores == whole.scores[saved // 2 :]
    assert same(state.model, expected.model)
    assert same(state.average, expected.average)
    assert (state.best, state.since_best) == (expected.best, expected.since_best)


@pytest.mark.slow
def test_a_killed_process_continues_to_the_same_numbers(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    expected = engine.train(tiny, train_set, val_set, tmp_path / "whole", Recorder())
    killed = subprocess.run(
        [sys.executable, "-m", "tests.unit.training.killed_run", str(tmp_path / "cut")],
        check=False,
    )
    assert killed.returncode == -9
    state = engine.train(tiny, train_set, val_set, tmp_path / "cut", Recorder())
    assert same(state.model, expected.model)
    assert same(state.average, expected.average)


def test_a_snapshot_that_could_not_be_written_leaves_the_one_before(
    tiny: Config, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "last.pt", Checkpoint(tiny, {}, {}, step=1))
    with pytest.raises((AttributeError, PicklingError)):
        checkpoint.save(tmp_path / "last.pt", Checkpoint(tiny, {"half": lambda: 0}, {}, step=2))
    assert checkpoint.load(tmp_path / "last.pt").step == 1


def test_a_snapshot_that_finds_no_room_is_told_and_leaves_the_one_before_alone(
    tiny: Config, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "last.pt", Checkpoint(tiny, {}, {}, step=1))
    large = Checkpoint(tiny, {"weight": torch.rand(100_000)}, {}, step=2)
    with files_of_at_most(100_000), pytest.raises(OSError, match=r"too large: '.*/last\.pt'"):
        checkpoint.save(tmp_path / "last.pt", large)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert checkpoint.load(tmp_path / "last.pt").step == 1


def test_a_snapshot_between_validations_changes_no_validation(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    config = with_optim(tiny, validate_every_steps=4, save_every_s=1e-9)
    whole, rest = Recorder(), Recorder()
    expected = engine.train(config, train_set, val_set, tmp_path / "whole", whole)
    with pytest.raises(KeyboardInterrupt):
        engine.train(config, train_set, val_set, tmp_path / "cut", Killed(4))
    assert checkpoint.load(tmp_path / "cut" / "last.pt").step == 3
    state = engine.train(config, train_set, val_set, tmp_path / "cut", rest)
    assert rest.scores == whole.scores
    assert state.best == expected.best


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_its_batch(
    tiny: Config, val_set: NucleiDataset, tmp_path: Path, recorder: Recorder
) -> None:
    config = with_optim(tiny, learning_rate=1e30, steps=50, clip=1e30)
    with pytest.raises(engine.NotFinite, match="not finite"):
        engine.train(config, val_set, val_set, tmp_path, recorder)
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    assert saved["images"].shape == (2, 3, 64, 64)
    assert saved["labels"].shape == (2, 64, 64)


def test_a_gradient_that_is_not_finite_reaches_no_weights(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    config = with_optim(
        tiny, learning_rate=1e3, warmup_steps=0, steps=50, validate_every_steps=1, accumulate=2
    )
    with pytest.raises(engine.NotFinite, match=r"is not finite.* lower optim\.learning_rate"):
        engine.train(config, train_set, val_set, tmp_path, Recorder())
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    assert saved["images"].shape == (4, 3, 64, 64)
    state = checkpoint.load(tmp_path / "last.pt")
    assert saved["step"] == state.step
    assert all(state.model[name].isfinite().all() for name in state.model if "running" not in name)


def test_validation_shows_what_the_curve_of_other_weights_would_leave_out(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    config = with_optim(tiny, steps=30, validate_every_steps=30)
    fates = []
    for name, least in (("all", 0.0), ("none", 1.0)):
        recorder = Recorder()
        strict = replace(config, decode=replace(config.decode, min_score=least))
        engine.train(strict, train_set, val_set, tmp_path / name, recorder)
        fates.append(recorder.scores[-1].faults)
    assert fates[0] == fates[1]
    assert fates[0].found + fates[0].spurious > 0


def test_a_run_stops_when_validation_no_longer_improves(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = with_optim(
        tiny, learning_rate=0.0, steps=40, validate_every_steps=1, patience=2, ema=0.0
    )
    state = engine.train(config, train_set, val_set, tmp_path, recorder)
    assert state.step == 3
    assert state.since_best == 2


def test_the_clock_ends_a_run_that_has_steps_left(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    recorder: Recorder,
) -> None:
    config = with_optim(tiny, steps=10**6, max_minutes=1 / 600)
    state = engine.train(config, train_set, val_set, tmp_path, recorder)
    assert 1 <= state.step < 10**6
    assert len(recorder.scores) >= 1


def test_a_deterministic_run_asks_for_algorithms_that_repeat_and_gives_them_back(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    seen: list[bool] = []

    class Watching(Recorder):
        """Remembers what was asked of PyTorch."""

        def on_step(self, state: Checkpoint, fraction: float, terms: Any) -> None:
            super().on_step(state, fraction, terms)
            seen.append(torch.are_deterministic_algorithms_enabled())

    runs = [Watching(), Watching()]
    config = with_optim(tiny, deterministic=True, steps=2)
    for index, watching in enumerate(runs):
        engine.train(config, train_set, val_set, tmp_path / str(index), watching)
    assert seen == [True] * 4
    assert runs[0].totals == runs[1].totals
    assert not torch.are_deterministic_algorithms_enabled()


def test_accumulated_batches_weigh_as_much_as_one_step(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    recorder = Recorder()
    config = with_optim(tiny, accumulate=2, steps=1)
    engine.train(config, train_set, val_set, tmp_path, recorder)
    single = Recorder()
    # Two steps that learn nothing see the same two batches.
    frozen = with_optim(tiny, steps=2, learning_rate=0.0)
    engine.train(frozen, train_set, val_set, tmp_path / "single", single)
    assert recorder.totals[0] == pytest.approx(sum(single.totals) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": (8, 16)}, r"model\.widths is \(8, 12\), the configuration says \(8, 16\)"),
        ({"embedding_size": 4}, r"model\.embedding_size is 3, the configuration says 4"),
    ],
)
def test_a_run_of_another_network_is_not_continued(
    tiny: Config,
    train_set: NucleiDataset,
    val_set: NucleiDataset,
    tmp_path: Path,
    change: dict[str, Any],
    words: str,
) -> None:
    engine.train(with_optim(tiny, steps=1), train_set, val_set, tmp_path, Recorder())
    other = replace(tiny, model=replace(tiny.model, **change))
    with pytest.raises(CheckpointError, match=words):
        engine.train(other, train_set, val_set, tmp_path, Recorder())


def test_a_run_begins_with_known_weights_and_goes_on_without_them(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    known = build_model(replace(tiny, seed=9))
    folder = write_folder(known, tmp_path / "model")
    config = with_optim(replace(tiny, start=str(folder)), learning_rate=0.0, steps=1)
    state = engine.train(config, train_set, val_set, tmp_path / "run", Recorder())
    expected = served(known, "discriminative").network.state_dict()["up.0.1.0.weight"]
    for weights in (state.model, state.average):
        assert torch.equal(weights["up.0.1.0.weight"], expected)
    shutil.rmtree(folder)
    config = with_optim(config, steps=2)
    assert engine.train(config, train_set, val_set, tmp_path / "run", Recorder()).step == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"model": {"widths": (4, 6)}},
            r"says model\.widths=\[8, 12\], the configuration \[4, 6\]$",
        ),
        (
            {"data": {"kind": "coco", "classes": ("a", "b")}},
            r'says classes=\["nucleus"\], the configuration \["a", "b"\]$',
        ),
    ],
)
def test_weights_that_do_not_fit_are_told_by_the_settings_that_differ(
    tiny: Config, train_set: NucleiDataset, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    folder = write_folder(build_model(tiny), tmp_path / "model")
    card = write_card(tiny, state={"step": 1, "elapsed_s": 1, "parameters": 1}, results=[])
    (folder / "MODEL_CARD.md").write_text(card)
    tables = {name: replace(getattr(tiny, name), **values) for name, values in change.items()}
    other = replace(tiny, start=str(folder), **tables)
    with pytest.raises(
        WarmStartError, match=rf"(?s)has shape.* here\n{folder}/MODEL_CARD\.md {words}"
    ):
        open_run(other, train_set, tmp_path / "run", Ranks())


def test_a_run_can_begin_with_the_encoder_of_a_file(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    weights = resnet_weights((4, 8), (1, 1))
    torch.save(weights, tmp_path / "resnet.pth")
    model = ModelConfig(network="fpn", widths=(4, 8), blocks=(1, 1))
    config = replace(tiny, start=str(tmp_path / "resnet.pth"), model=model)
    config = with_optim(config, learning_rate=0.0, steps=1)
    state = engine.train(config, train_set, val_set, tmp_path / "run", Recorder())
    found = state.average["encoder.levels.1.0.first.0.weight"]
    assert torch.equal(found, weights["layer2.0.conv1.weight"])


def test_a_run_can_be_given_more_steps(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    engine.train(with_optim(tiny, steps=2), train_set, val_set, tmp_path, Recorder())
    state = engine.train(with_optim(tiny, steps=3), train_set, val_set, tmp_path, Recorder())
    assert state.step == 3


def test_a_file_with_other_keys_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="expected"):
        checkpoint.load(tmp_path / "x.pt")
