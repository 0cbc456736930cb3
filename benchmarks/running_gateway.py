"""Start the real gateway on a free port for the length of a measurement."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_READY = re.compile(r"Discern is ready at (\S+)")


@contextmanager
def running_gateway(**settings: str) -> Iterator[tuple[str, int]]:
    """Run ``discern serve`` and give its address and process id; it is ended on the way out.

    Parameters
    ----------
    **settings : str
        Settings by lower-case name, such as ``workers="2"``.

    Raises
    ------
    RuntimeError
        If it ends before it is ready.
    """
    environment = {f"DISCERN_{name.upper()}": value for name, value in settings.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"],
        env={**os.environ, "DISCERN_PORT": "0", "DISCERN_LOG_LEVEL": "warning", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the gateway has no output to read")
        for line in process.stdout:
            if found := _READY.search(line):
                yield found.group(1), process.pid
                return
        raise RuntimeError("the gateway ended before it was ready")
    finally:
        process.terminate()
        process.wait(timeout=60)
