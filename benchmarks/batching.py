"""What batches and padding cost a network on this machine, and what memory they take.

    python -m benchmarks.batching [--model nuclei] [--repeats 7] [--threads 2]

Every batch size is timed in turn, so that other work on the machine disturbs all of them alike;
medians are compared. Memory is the growth of a fresh process that ran the one shape.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from training.deployment.export import open_artefact

SIDES = (128, 256, 512, 1024)
BATCHES = (1, 2, 4, 8)
MOST_PIXELS = 2**21
"""A call of more pixels than this is left out: it would take seconds."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    folder = Path("model_repository") / arguments.model
    session = open_artefact(folder, threads=arguments.threads).session
    print(f"{arguments.model}, {arguments.threads} threads, medians of {arguments.repeats}")
    print("| side | images a call | ms an image | relative to single calls | MiB |")
    print("|---|---|---|---|---|")
    for side in SIDES:
        batches = [count for count in BATCHES if count * side * side <= MOST_PIXELS]
        spent = _time(session, side, batches, arguments.repeats)
        for count in batches:
            grown = _memory_mib(folder, side, count)
            each, single = spent[count], spent[1]
            print(
                f"| {side} | {count} | {each:.1f} | {each / single:.2f}x | {grown:.0f} |",
                flush=True,
            )


def _time(session: Any, side: int, batches: list[int], repeats: int) -> dict[int, float]:
    """Return median milliseconds an image by batch size."""
    spent: dict[int, list[float]] = {count: [] for count in batches}
    for _ in range(repeats + 1):
        for count in batches:
            images = np.zeros((count, side, side, 3), np.uint8)
            began = time.perf_counter()
            session.run(None, {"image": images})
            spent[count].append((time.perf_counter() - began) * 1e3 / count)
    # The first round finds the memory not yet taken.
    return {count: statistics.median(times[1:]) for count, times in spent.items()}


def _memory_mib(folder: Path, side: int, count: int) -> float:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run_once, args=(theirs, folder, side, count)
    )
    process.start()
    grown = float(ours.recv())
    process.join()
    return grown


def _run_once(answer: Connection, folder: Path, side: int, count: int) -> None:
    session = open_artefact(folder).session
    before = _resident_mib()
    session.run(None, {"image": np.zeros((count, side, side, 3), np.uint8)})
    answer.send(_resident_mib() - before)


def _resident_mib() -> float:
    # ONNX Runtime keeps what it took, so what is resident afterwards is what it took at most.
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
