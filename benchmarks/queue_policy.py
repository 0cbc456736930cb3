"""How a server's queue should make batches: three policies, in turn, under the same clients.

    python -m benchmarks.queue_policy [--sides 256 512] [--rounds 5] [--requests 16]

Each policy is a real Triton with a real gateway before it; all of them are up at once, so that each
round of one is beside a round of the others.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from benchmarks.bench_triton import drive, scene, segmenting
from tests.triton_server.server import TritonServer, running
from training.deployment.server_config import read_config

CLIENTS = (1, 4)


def one_by_one(batching: Any) -> None:
    """Never join requests."""
    batching.preferred_batch_size.append(1)


def joined(_: Any) -> None:
    """Join what waits already."""


def delayed(batching: Any) -> None:
    """Let a request wait 5 ms for company."""
    batching.max_queue_delay_microseconds = 5_000


POLICIES: dict[str, Callable[[Any], None]] = {
    "one by one": one_by_one,
    "joined": joined,
    "joined, 5 ms delay": delayed,
}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=16)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = {
            name: start(stack, folder / str(i), arguments.model, change)
            for i, (name, change) in enumerate(POLICIES.items())
        }
        print("| side | clients | policy | median ms | answers a second |\n|---|---|---|---|---|")
        for side in arguments.sides:
            for clients in CLIENTS:
                compare(urls, side, clients, arguments)


def start(stack: ExitStack, repository: Path, model: str, change: Callable[[Any], None]) -> str:
    """Start server and gateway with another queue; return where to post images."""
    folder = repository / model
    shutil.copytree(Path("model_repository") / model, folder)
    config = read_config(folder)
    change(config.dynamic_batching)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    server = stack.enter_context(running(TritonServer(repository)))
    return stack.enter_context(segmenting(server, model, shared_memory=True))


def compare(urls: dict[str, str], side: int, clients: int, arguments: argparse.Namespace) -> None:
    """Print a line for every policy."""
    data = scene(side)
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in urls}
    for _ in range(arguments.rounds + 1):
        for name, url in urls.items():
            measured[name].append(drive(url, data, clients, arguments.requests))
    for name, rounds in measured.items():
        latency_ms, rate = map(statistics.median, zip(*rounds[1:], strict=True))
        print(f"| {side} | {clients} | {name} | {latency_ms:.0f} | {rate:.1f} |", flush=True)


if __name__ == "__main__":
    main()
