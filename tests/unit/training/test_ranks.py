"""Two processes that train together, as torchrun starts them, with gloo between CPUs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.live import ROOT
from tests.unit.training.conftest import TINY, Recorder, drawn
from training.loop import checkpoint, engine
from training.loop.ranks import local_processes

pytestmark = pytest.mark.slow

Saw = dict[str, Any]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes trained for six steps."""
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            "-m", "tests.unit.training.one_of_ranks", str(folder),
        ],
        check=True,
        env={"OMP_NUM_THREADS": "1", "PATH": "", "PYTHONFAULTHANDLER": "1"},
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def both(place: Path) -> tuple[Saw, Saw]:
    """What each of them saw."""
    first, second = (torch.load(place / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second


def two_train(folder: Path, arguments: str) -> subprocess.CompletedProcess[str]:
    """Let two processes train; `arguments` are for a shell, and may name ``$RANK``."""
    (folder / "two.toml").write_text('name = "two"\n')
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            "--no-python", "/bin/sh", "-c",
            f"exec {sys.executable} -m training train two.toml --threads 1 {arguments}",
        ],
        check=False,
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip


def one_image(folder: Path, splits: Mapping[str, str]) -> None:
    """Make a data set of one image, whose ids are in these lists."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
        cv2.imwrite(str(folder / f"{part}/a.png"), np.full((64, 64), 1, np.uint8))
    for split, name in splits.items():
        (folder / f"{split}.txt").write_text(f"{name}\n")


def test_broken_files_are_told_once_for_all_processes(tmp_path: Path) -> None:
    one_image(tmp_path, {"train": "a", "val": "a"})
    done = two_train(tmp_path, "--data .")
    assert done.returncode == 1
    assert done.stderr.count("a is in both train and val") == 1
    assert done.stderr.count("Traceback") == 1  # torchrun's own


def test_what_one_process_alone_cannot_read_is_told_once(tmp_path: Path) -> None:
    one_image(tmp_path / "0", {"train": "a"})
    one_image(tmp_path / "1", {"train": "b"})
    done = two_train(tmp_path, "--data $RANK --set data.val=")
    assert done.returncode == 1
    assert done.stderr.count("1/images/b.png: no such file") == 1
    assert done.stderr.count("Traceback") == 1


def test_a_wrong_setting_is_told_once_for_all_processes(tmp_path: Path) -> None:
    done = two_train(tmp_path, "--set optim.stepz=1")
    assert done.returncode == 1
    assert done.stderr.count("unknown key optim.stepz") == 1


def alone(folder: Path, **optim: Any) -> tuple[Recorder, Any]:
    """Train in this process with other batches."""
    config, recorder = replace(TINY, optim=replace(TINY.optim, **optim)), Recorder()
    return recorder, engine.train(config, drawn(8, seed=0), drawn(2, seed=1), folder, recorder)


def learnt(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what batch normalisation counts: each process counts its own crops."""
    return {
        name: weight
        for name, weight in weights.items()
        if "running" not in name and "tracked" not in name
    }


def test_both_have_the_same_weights(both: tuple[Saw, Saw]) -> None:
    first, second = (learnt(saw["weights"]) for saw in both)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_learns_from_its_own_crops_and_both_report_the_mean(both: tuple[Saw, Saw]) -> None:
    first, second = both
    assert first["step"] == second["step"] == 6
    assert all(one != other for one, other in zip(first["masks"], second["masks"], strict=True))
    assert first["totals"] == second["totals"]


def test_the_first_alone_validates_and_saves_and_all_know_the_result(
    place: Path, both: tuple[Saw, Saw]
) -> None:
    first, second = both
    assert (first["validations"], second["validations"]) == (2, 0)
    assert first["best"] == second["best"] == checkpoint.load(place / "run/last.pt").best


def test_what_is_not_finite_in_one_is_not_finite_in_all(both: tuple[Saw, Saw]) -> None:
    assert all(torch.isnan(saw["spread"]) for saw in both)


def test_they_learn_what_one_process_does_that_adds_up_two_batches(
    both: tuple[Saw, Saw], tmp_path: Path
) -> None:
    recorder, state = alone(tmp_path, accumulate=2)
    assert both[0]["totals"] == pytest.approx(recorder.totals, rel=1e-4)
    torch.testing.assert_close(
        learnt(both[0]["weights"]), learnt(state.model), rtol=1e-3, atol=1e-4
    )


def test_the_loss_is_that_of_one_process_with_twice_the_batch(
    both: tuple[Saw, Saw], tmp_path: Path
) -> None:
    recorder, _ = alone(tmp_path, batch=4)
    # Batch normalisation sees half as many crops.
    assert both[0]["totals"] == pytest.approx(recorder.totals, rel=0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc of Linux")
def test_no_thread_of_the_group_outlives_it(both: tuple[Saw, Saw]) -> None:
    for saw in both:
        assert "pt_gloo_runloop" in saw["threads"]["during"]
        assert not any("gloo" in name for name in saw["threads"]["after"])


def test_each_knows_how_many_share_the_machine(both: tuple[Saw, Saw]) -> None:
    assert [saw["local"] for saw in both] == [2, 2]
    assert local_processes() == 1
