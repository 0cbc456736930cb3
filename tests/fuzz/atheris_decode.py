"""Let atheris look for inputs that the decoder does not survive, led by coverage of our own code.

``python -m tests.fuzz.atheris_decode FOLDER -max_total_time=600`` keeps what it finds in FOLDER and
hands further options to libFuzzer. It needs ``pip install atheris``, which the tests do not.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.fuzz.hostile import seeds


def main() -> None:
    """Write the valid files into the folder as a beginning, and look from there."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["service.imaging"]):
        fuzz_decode = importlib.import_module("tests.fuzz.fuzz_decode")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(data)

    def try_input(data: bytes) -> None:
        fuzz_decode.outcome(data)

    atheris.Setup(sys.argv, try_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
