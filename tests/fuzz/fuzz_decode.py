"""Feed damaged images to the decoder and report whatever is not one of its errors.

``python -m tests.fuzz.fuzz_decode --inputs 100000`` runs seeded mutations in a child process, so
that a crash is a finding and not the end. `tests.fuzz.coverage_led` looks for inputs by coverage.
"""

from __future__ import annotations

import argparse
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

from service.domain import ImageLimits, Plane
from service.errors import BadParameter, BrokenImage, TooLarge, UnsupportedFormat
from service.imaging import tiff
from service.imaging.decode import decode_image
from tests.fuzz.hostile import mutate, seeds
from tests.image_files import encode, picture

LIMITS = ImageLimits(max_bytes=2**24, max_pixels=2**22, max_side_px=2**14)
SLOW_S = 0.5
HANG_S = 20.0


def outcome(data: bytes) -> str:
    """Name what became of an input; whatever else is raised goes through.

    How long it is decides which page and channel are asked for.
    """
    turn, page = divmod(len(data), 3)
    plane = Plane(page if data[:4] in tiff.SIGNATURES else 0, (None, 0, 2)[turn % 3])
    try:
        decode_image(data, LIMITS, plane)
    except (BadParameter, BrokenImage, TooLarge, UnsupportedFormat) as error:
        return type(error).__name__
    return "decoded"


def _resident_kib() -> int:
    """Return the memory held now; Linux tells."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _shard(seed: int, first: int, last: int, at: Synchronized[int], report: Any) -> None:
    """Try inputs `first` up to `last`, saying where we are."""
    warnings.simplefilter("ignore")  # as in production, they stop nothing
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    files = seeds()
    # The largest picture allowed, so that what the allocator keeps of it is not taken for a leak.
    outcome(encode(picture("RGBA", 2048, 2048), "GIF"))
    seen: Counter[str] = Counter()
    slowest = 0.0
    early_kib = 0
    for number in range(first, last):
        at.value = number
        data = mutate(random.Random(f"{seed}/{number}"), files)  # noqa: S311 - repeatable
        began = time.thread_time()
        try:
            seen[outcome(data)] += 1
        except Exception as error:  # noqa: BLE001 - this is what we are looking for
            seen[f"FOUND {type(error).__name__} at {number}"] += 1
        took = time.thread_time() - began
        slowest = max(slowest, took)
        if took > SLOW_S:
            seen[f"FOUND slow at {number}"] += 1
        if number == first + (last - first) // 4:
            early_kib = _resident_kib()
    late_kib = _resident_kib()
    report.send((seen, slowest, early_kib, late_kib))


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
            seen, slowest, early_kib, late_kib = receive.recv()
        except EOFError:
            child.join()
            if at.value < first:
                raise RuntimeError("the child process did not reach its first input") from None
            totals[f"FOUND crash or hang at {at.value} (exit {child.exitcode})"] += 1
            first = at.value + 1
            continue
        child.join()
        totals += seen
        growth = late_kib / early_kib - 1
        sys.stdout.write(
            f"slowest input {slowest * 1e3:.1f} ms of CPU time; memory {early_kib / 1024:.1f} MiB "
            f"after a quarter of the inputs, {late_kib / 1024:.1f} MiB at the end ({growth:+.1%})\n"
        )
        first = inputs
    return totals


def main() -> int:
    """Read the command line, run, print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    totals = run(options.seed, options.inputs)
    for name, count in sorted(totals.items()):
        sys.stdout.write(f"{count:8d}  {name}\n")
    return int(any(name.startswith("FOUND") for name in totals))


if __name__ == "__main__":
    sys.exit(main())
