"""Kernels run wherever they are: the code kept from one start to the next is a convenience."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from service.compiled import is_kept
from tests.live import ROOT

RUN = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, resource.RLIM_INFINITY))
from service.masks.rle import decode
print(decode({{"size": [1, 1], "counts": "01"}}))
"""


@pytest.mark.parametrize("room", ["0", "resource.RLIM_INFINITY"], ids=["full disk", "room"])
def test_a_kernel_runs_and_its_code_is_kept_where_there_is_room(tmp_path: Path, room: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", RUN.format(room=room)],
        cwd=ROOT,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "[[ True]]\n"
    assert bool(list(tmp_path.rglob("*.nbc"))) == (room != "0")


@pytest.mark.parametrize("user_has_room", [True, False])
def test_the_users_cache_keeps_the_code_of_a_kernel_whose_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, user_has_room: bool
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not user_has_room:
        (tmp_path / "cache").touch()
    (tmp_path / "__pycache__").touch()  # no folder, so that nothing can be written into it
    source = tmp_path / "doubling.py"
    source.write_text(
        "from service.compiled import kernel\n\n\n@kernel\ndef double(x):\n    return 2 * x\n"
    )
    spec = importlib.util.spec_from_file_location("doubling", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.double(2) == 4
    assert is_kept(module.double) == user_has_room
    assert bool(list(tmp_path.rglob("*.nbc"))) == user_has_room
