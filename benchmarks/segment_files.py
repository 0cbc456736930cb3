"""Many small files through ``discern segment`` beside the bare network on the same images.

``python -m benchmarks.segment_files --images 200`` prints images a second and processor time of
both, the network in the better of its own ways to use the cores, the ratios, and how the command's
memory grew.
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
from statistics import mean
from typing import Any, NamedTuple

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
    drawn = NucleiDataset(count=min(count, 20), seed=1, size=256, min_objects=20, max_objects=50)
    pictures = [drawn[n].image for n in range(len(drawn))]
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(count):
            cv2.imwrite(str(folder / f"{number:05d}.png"), pictures[number % len(pictures)])
        ways = [(1, cores), (cores, 1)]
        before = [_bare(pictures, count, *way) for way in ways]
        few = _command(folder, folder / "few.jsonl", count // 10)
        all_ = _command(folder, folder / "all.jsonl", count)
        after = [_bare(pictures, count, *way) for way in ways]
    # A machine is never quite quiet: the network runs before and after, and both count.
    bare = min(
        Spent(*map(mean, zip(*pair, strict=True))) for pair in zip(before, after, strict=True)
    )
    # Start-up is the same for both runs: the difference is the work.
    work = Spent(*(a - b for a, b in zip(all_[0], few[0], strict=True)))
    done = count - count // 10
    for name, spent, images in (("bare network", bare, count), ("segment", work, done)):
        print(
            f"{name:13}{images / spent.wall_s:6.1f} images/s, "
            f"{spent.cpu_s / images * 1e3:5.1f} ms of processor time an image"
        )
    print(
        f"segment / bare network: {bare.wall_s * done / work.wall_s / count:.2f} of the "
        f"images a second; {work.cpu_s / done / bare.cpu_s * count:.2f} times the processor time"
    )
    print(f"peak memory: {few[1]:.0f} MiB after {count // 10} images, {all_[1]:.0f} after {count}")
    return 0


class Spent(NamedTuple):
    """Time on the clock, and on the processors."""

    wall_s: float
    cpu_s: float


def _bare(pictures: list[npt.NDArray[np.uint8]], count: int, threads: int, calls: int) -> Spent:
    """Run the network alone on so many images: so many calls at once, on threads each."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    version = max(MODEL.glob("*/model.onnx"))
    session = onnxruntime.InferenceSession(str(version), options)
    batches = [cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)[None] for picture in pictures]

    def run(number: int) -> Any:
        return session.run(None, {"image": batches[number % len(batches)]})

    with ThreadPoolExecutor(calls) as pool:
        list(pool.map(run, range(2 * calls)))
        began = Spent(time.perf_counter(), time.process_time())
        for _ in pool.map(run, range(count)):
            pass
        return Spent(time.perf_counter() - began.wall_s, time.process_time() - began.cpu_s)


def _command(folder: Path, out: Path, count: int) -> tuple[Spent, float]:
    """Run the command on the first so many files; return times and peak memory in MiB."""
    files = [str(path) for path in sorted(folder.glob("*.png"))[:count]]
    began = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", "service", "segment", *files, "--jsonl", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"discern segment ended with status {os.waitstatus_to_exitcode(status)}")
    spent = Spent(time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
    return spent, usage.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
