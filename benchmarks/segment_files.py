"""Many small files through ``discern segment`` beside the bare network on the same images.

``python -m benchmarks.segment_files --images 200`` prints images a second of both, the best of the
network's own ways to use the cores, the ratio, and how the command's memory grew.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from training.data.synthetic import NucleiDataset

MODEL = Path("model_repository/nuclei")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    count = parser.parse_args().images
    drawn = NucleiDataset(count=min(count, 20), seed=1, size=256, min_nuclei=20, max_nuclei=50)
    pictures = [drawn[n].image for n in range(len(drawn))]
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            cv2.imwrite(str(folder / f"{number:05d}.png"), pictures[number % len(pictures)])
        bare = max(_bare(pictures, count, 1, cores), _bare(pictures, count, cores, 1))
        first = _command(folder, folder / "one.jsonl", count // 10)
        seconds, peak = _command(folder, folder / "all.jsonl", count)
        # Start-up is the same for both runs: the difference is the work.
        rate = (count - count // 10) / (seconds - first[0])
    print(f"bare network {bare:6.1f} images/s")
    print(f"segment      {rate:6.1f} images/s  ({rate / bare:.2f} of it)")
    before, after = first[1] / 1024, peak / 1024
    print(f"peak memory  {before:.0f} MiB after {count // 10}, {after:.0f} after {count}")
    return 0


def _bare(pictures: list[npt.NDArray[np.uint8]], count: int, threads: int, calls: int) -> float:
    """Return images a second of the network alone: so many calls at once, on threads each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    version = max(MODEL.glob("*/model.onnx"))
    session = onnxruntime.InferenceSession(str(version), options)
    batches = [cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)[None] for picture in pictures]

    def run(number: int) -> Any:
        return session.run(None, {"image": batches[number % len(batches)]})

    with ThreadPoolExecutor(calls) as pool:
        list(pool.map(run, range(2 * calls)))
        began = time.perf_counter()
        list(pool.map(run, range(count)))
        return count / (time.perf_counter() - began)


def _command(folder: Path, out: Path, count: int) -> tuple[float, int]:
    """Run the command on the first so many files; return seconds and peak memory in KiB."""
    files = [str(path) for path in sorted(folder.glob("*.png"))[:count]]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", "service", "segment", *files, "--jsonl", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - began, usage.ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
