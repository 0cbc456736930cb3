"""One process trains in a folder; when it is gone, the next one can."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import ROOT
from training.cli import main
from training.loop.checkpoint import CheckpointError
from training.loop.claim import claimed

HOLDER = """
import os, sys
from pathlib import Path
from training.loop.claim import claimed

with claimed(Path(sys.argv[1])):
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    sys.stdin.read()
"""
"""Claims a folder and forks, as a loader of data forks its workers; both end with their input."""


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process, which has a worker, hold a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        try:
            yield process
        finally:
            process.kill()


def test_two_processes_do_not_train_in_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(ROOT / "training/configs/sticks.toml"), "--runs", str(tmp_path)]
    with held(tmp_path / "sticks"):
        assert main([*command, "--threads", "1"]) == 1
    assert "sticks: another process trains there; end it first" in capsys.readouterr().err
    assert not (tmp_path / "sticks/last.pt").exists()


def test_a_killed_run_goes_on_at_once_though_its_workers_live(tmp_path: Path) -> None:
    with held(tmp_path) as process:
        with pytest.raises(CheckpointError), claimed(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with claimed(tmp_path):  # the worker still waits for the end of its input
            pass


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with claimed(tmp_path / "new/run"):
        assert (tmp_path / "new/run").is_dir()
