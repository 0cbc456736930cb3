"""Put Debian's Redis into ``.redis/``: no service is installed or started."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.debian import unpack

HOME = Path(__file__).resolve().parents[2] / ".redis"
PROGRAM = HOME / "usr" / "bin" / "redis-server"


def find() -> str | None:
    """Return the path of ``redis-server``, ours or the system's."""
    return str(PROGRAM) if PROGRAM.exists() else shutil.which("redis-server")


def install() -> None:
    """Install once; a second call finds everything in place."""
    if find() is None:
        # The program, the package that its name is a link into, and two libraries.
        unpack(["redis-server", "redis-tools", "liblzf1", "libjemalloc2"], HOME)


if __name__ == "__main__":
    install()
