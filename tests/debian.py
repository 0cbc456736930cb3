"""Programs out of Debian packages, unpacked into a folder: no service is installed or started.

Needs apt, and its lists; root only where those have to be fetched first.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path


def unpack(packages: list[str], home: Path) -> None:
    """Fetch packages and unpack them below `home`."""
    # Readable for everyone: apt fetches as a user of its own.
    with tempfile.TemporaryDirectory(prefix="packages-") as folder:
        Path(folder).chmod(0o777)
        if _download(packages, folder, check=False) != 0:
            if os.geteuid() == 0:
                subprocess.run(["apt-get", "--quiet", "--quiet", "update"], check=True)
            _download(packages, folder, check=True)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", str(package), str(home)], check=True)


def _download(packages: list[str], folder: str, *, check: bool) -> int:
    command = ["apt-get", "--quiet", "--quiet", "download", *packages]
    return subprocess.run(command, cwd=folder, check=check, capture_output=not check).returncode
