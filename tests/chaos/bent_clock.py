"""``python -m tests.chaos.bent_clock serve``: the gateway under a wall clock that can be bent.

The file that ``CHAOS_CLOCK`` names holds by how many seconds `time.time` is wrong.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_OFFSET = Path(os.environ["CHAOS_CLOCK"])
_right_time = time.time


def _bent_time() -> float:
    return _right_time() + float(_OFFSET.read_text())


def main() -> int:
    """Bend the clock before anything takes a look at it, then serve."""
    time.time = _bent_time
    from service.cli import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
