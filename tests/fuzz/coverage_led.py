"""Let atheris look for inputs that a target does not survive, led by coverage of our own code.

``python -m tests.fuzz.coverage_led TARGET FOLDER -max_total_time=600`` keeps what it finds in
FOLDER and hands further options to libFuzzer. It needs ``pip install atheris``, which the tests do
not; the targets are those of `tests.fuzz.targets`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fuzz.hostile import seeds

BEGINNINGS: Final[dict[str, Callable[[], list[bytes]]]] = {
    "image": seeds,
    "parameters": lambda: [
        b"format=rle&min_area=3&min_score=0.5&max_instances=10&bandwidth=1.5&classes=1,2",
        b"application/json;q=0.9, image/*",
        b"100/minute",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
    "rle": lambda: [b"\x02\x02112", b"\x05\x05:2N1b0", b"\x00\x00"],
}


def main() -> None:
    """Write valid inputs into the folder as a beginning, and look from there."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # compiled code tells nothing of its branches
    atheris = importlib.import_module("atheris")
    name, folder = sys.argv.pop(1), Path(sys.argv[1])
    with atheris.instrument_imports(include=["service", "discern"]):
        targets = importlib.import_module("tests.fuzz.targets").TARGETS
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(BEGINNINGS[name]()):
        (folder / f"seed-{number}").write_bytes(data)
    atheris.Setup(sys.argv, targets[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
