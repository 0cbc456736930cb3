"""Feed damaged images to the decoder and report whatever is not one of its three errors.

``python -m tests.fuzz.fuzz_decode --inputs 100000`` runs seeded mutations in a child process, so
that a crash is a finding and not the end; ``--engine atheris`` lets atheris, where it is installed,
look for inputs by coverage of our own code.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import resource
import sys
import time
import warnings
from collections import Counter
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from service.domain import ImageLimits
from service.errors import BrokenImage, TooLarge, UnsupportedFormat
from service.imaging.decode import decode_image
from tests.fuzz.hostile import mutate, seeds

LIMITS = ImageLimits(max_bytes=2**20, max_pixels=2**22, max_side_px=2**14)
SLOW_S = 0.5
HANG_S = 20.0


def outcome(data: bytes) -> str:
    """Name what became of an input; whatever else is raised goes through."""
    try:
        decode_image(data, LIMITS)
    except (BrokenImage, TooLarge, UnsupportedFormat) as error:
        return type(error).__name__
    return "decoded"


def _shard(seed: int, first: int, last: int, at: Synchronized[int], report: Any) -> None:
    """Try inputs `first` up to `last`, saying where we are."""
    warnings.simplefilter("ignore")  # as in production, they stop nothing
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    files = seeds()
    seen: Counter[str] = Counter()
    slowest = 0.0
    peak_after_warm_up = 0
    for number in range(first, last):
        at.value = number
        data = mutate(random.Random(f"{seed}/{number}"), files)  # noqa: S311 - repeatable
        began = time.perf_counter()
        try:
            seen[outcome(data)] += 1
        except Exception as error:  # noqa: BLE001 - this is what we are looking for
            seen[f"FOUND {type(error).__name__} at {number}"] += 1
        took = time.perf_counter() - began
        slowest = max(slowest, took)
        if took > SLOW_S:
            seen[f"FOUND slow at {number}"] += 1
        if number == first + (last - first) // 4:
            peak_after_warm_up = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report.send((seen, slowest, peak_after_warm_up, peak))


def run(seed: int, inputs: int) -> Counter[str]:
    """Try `inputs` mutations, going on after a crash or a hang; keys with FOUND are findings."""
    context = multiprocessing.get_context("spawn")
    totals: Counter[str] = Counter()
    first = 0
    while first < inputs:
        at = context.Value("q", first - 1)
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=_shard, args=(seed, first, inputs, at, send))
        child.start()
        send.close()
        stuck_at, since = first, time.monotonic()
        while not receive.poll(1.0):
            if at.value != stuck_at:
                stuck_at, since = at.value, time.monotonic()
            elif time.monotonic() - since > HANG_S:
                child.kill()
        try:
            seen, slowest, early, peak = receive.recv()
        except EOFError:
            child.join()
            if at.value < first:
                raise RuntimeError("the child process did not reach its first input") from None
            totals[f"FOUND crash or hang at {at.value} (exit {child.exitcode})"] += 1
            first = at.value + 1
            continue
        child.join()
        totals += seen
        sys.stdout.write(
            f"slowest input {slowest * 1e3:.1f} ms; peak memory {early / 1024:.1f} MiB after a "
            f"quarter of the inputs, {peak / 1024:.1f} MiB at the end ({peak / early - 1:+.1%})\n"
        )
        first = inputs
    return totals


def run_atheris(folder: Path) -> None:
    """Let atheris look for inputs, beginning with the valid files, which go to `folder`."""
    atheris = importlib.import_module("atheris")
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(data)
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], str(folder), "-max_len=4096"], outcome)
    atheris.Fuzz()


def main() -> int:
    """Read the command line, run, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=("mutate", "atheris"), default="mutate")
    parser.add_argument("--corpus", type=Path, default=Path(".fuzz-corpus"))
    options = parser.parse_args()
    if options.engine == "atheris":
        run_atheris(options.corpus)
        return 0
    totals = run(options.seed, options.inputs)
    for name, count in sorted(totals.items()):
        sys.stdout.write(f"{count:8d}  {name}\n")
    return int(any(name.startswith("FOUND") for name in totals))


if __name__ == "__main__":
    sys.exit(main())
