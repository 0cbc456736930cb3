"""Kernels run wherever they are: the code kept from one start to the next is a convenience."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
