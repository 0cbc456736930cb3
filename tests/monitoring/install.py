"""Put Debian's Prometheus and promtool into ``.prometheus/``; nothing is started."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.debian import unpack

HOME = Path(__file__).resolve().parents[2] / ".prometheus"
PACKAGE = "prometheus"


def find(program: str) -> str | None:
    """Return the path of ``prometheus`` or ``promtool``, ours or the system's."""
    own = HOME / "usr" / "bin" / program
    return str(own) if own.exists() else shutil.which(program)


def install() -> None:
    """Install once; a second call finds everything in place."""
    if find("prometheus") and find("promtool"):
        return
    unpack([PACKAGE], HOME)


if __name__ == "__main__":
    install()
