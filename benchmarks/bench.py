"""Clustering, masks and the path around them, measured in one go: docs/BENCHMARKS.md.

``python -m benchmarks.bench`` prints its tables and writes them into the page; ``--part`` runs some
of them, where a machine is quiet for minutes only; ``--quick`` leaves out the slow contenders and
writes nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from pathlib import Path

from benchmarks.bench_kernels import (
    BANDWIDTH,
    OTHERS,
    contenders,
    encoding,
    mean_shift_table,
    memory_table,
    reads,
    threads_table,
)
from benchmarks.bench_path import path_table

PAGE = Path("docs/BENCHMARKS.md")
BEGIN, END = "<!-- kernels: begin -->", "<!-- kernels: end -->"
COMMAND = "python -m benchmarks.bench"


def machine() -> str:
    """Describe the processor and the interpreter."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"


CASES: tuple[tuple[int, int, int, float, str], ...] = (
    (512, 8, 30, 0.15, "float32"), (512, 8, 30, 0.15, "float16"),
    (512, 8, 30, 0.05, "float32"), (512, 8, 30, 0.3, "float32"), (512, 8, 30, 0.4, "float32"),
    (512, 2, 30, 0.15, "float32"), (512, 2, 30, 0.3, "float32"),
    (512, 16, 30, 0.15, "float32"), (512, 16, 30, 0.3, "float32"), (512, 32, 30, 0.15, "float32"),
    (512, 32, 30, 0.3, "float32"),
    (512, 8, 1, 0.15, "float32"), (512, 8, 200, 0.15, "float32"), (512, 8, 1000, 0.15, "float32"),
    (256, 8, 8, 0.15, "float32"), (1024, 8, 120, 0.15, "float32"), (2048, 8, 480, 0.15, "float32"),
    (4096, 8, 1920, 0.15, "float32"),
)  # fmt: skip


CLUSTERING = "Clustering beside one plain read of the embedding (`embedding.sum()`, float32)"

PARTS: dict[str, dict[str, Callable[[int], str]]] = {
    "clustering": {CLUSTERING: lambda turns: reads(turns, CASES)},
    "masks": {
        "Two threads": lambda _: threads_table(0.5),
        "Masks": lambda _: encoding([(512, 512, 20), (1080, 1920, 100), (2160, 3840, 200)], 20),
        "Memory": lambda _: memory_table(),
    },
    "path": {
        "From the request's bytes to the answer's, one thread": lambda turns: path_table(
            turns // 10
        )
    },
    "others": {
        "Other ways to cluster, 128 x 128, E=8, K=30, noise 0.15": lambda turns: contenders(
            128, turns, list(OTHERS)
        ),
        "Other ways to cluster, 512 x 512, E=8, K=30, noise 0.15": lambda turns: contenders(
            512, turns, ["NumPy, the paper's loop"]
        ),
        "scikit-learn MeanShift (bin_seeding), 512 x 512, E=8, K=30, noise 0.15": mean_shift_table,
    },
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute, nothing written")
    parser.add_argument("--part", choices=PARTS, nargs="*", default=list(PARTS))
    parser.add_argument("--turns", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.quick:
        print(reads(arguments.turns, CASES[:4]))
        print(encoding([(512, 512, 20)], 20))
        print(threads_table(0.3))
        return
    for part in arguments.part:
        for title, step in PARTS[part].items():  # the last ones take minutes: write what there is
            write(title, f"`{COMMAND} --part {part}` on {machine()}.\n\n{step(arguments.turns)}")


def write(title: str, text: str) -> None:
    """Put a table in its place between the page's marks; the others stay."""
    page = PAGE.read_text() if PAGE.exists() else "# Benchmarks\n\n"
    head, mark, rest = page.partition(BEGIN)
    old, _, tail = rest.partition(END) if mark else ("", "", "")
    sections = dict(part.split("\n", 1) for part in old.split("\n### ")[1:])
    sections[title] = f"\n{text}\n"
    order = [name for steps in PARTS.values() for name in steps if name in sections]
    body = "\n".join(f"### {name}\n\n{sections[name].strip()}\n" for name in order)
    PAGE.write_text(
        f"{head}{BEGIN}\n## Clustering and masks\n\n`make bench`. Contenders take turns in one "
        "process; numbers are the quickest turn in CPU time of one thread, throughput of threads "
        f"is wall time. Bandwidth {BANDWIDTH}, centres 3.0 apart, noise per dimension, half of the "
        "image foreground."
        f"\n\n{body}{END}\n{tail.lstrip(chr(10))}"
    )


if __name__ == "__main__":
    main()
