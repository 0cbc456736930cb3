"""``discern bench``: load on a running server, and how long its answers take."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.table import Table

from discern.client import AsyncClient, DiscernClientError, NoAnswer, Retries, ServerProblem
from service.commands.options import calling, print_table
from service.settings import Settings


@dataclass(slots=True)
class Load:
    """What a run of load gave.

    Parameters
    ----------
    latencies_s : list of float
        Of every good answer.
    failures : Counter of str
        By problem code.
    spent_s : float
        From the first request to the last answer.
    """

    latencies_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    spent_s: float = 0.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("bench", help="put load on a running server and time its answers")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("--url", default="http://127.0.0.1:8000", metavar="URL")
    parser.add_argument("--clients", type=int, default=4, help="requests under way at once")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a histogram as SVG")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Carry the command out and return the exit status."""
    try:
        data = arguments.image.read_bytes()
        load = asyncio.run(
            put_load(arguments.url, data, settings, arguments.clients, arguments.seconds)
        )
    except (DiscernClientError, OSError) as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1
    if not load.latencies_s:
        print(f"discern: no request was answered: {dict(load.failures)}", file=sys.stderr)
        return 1
    table = Table("answers", "a second", "p50 ms", "p95 ms", "p99 ms", "failures")
    p50, p95, p99 = np.percentile(load.latencies_s, [50, 95, 99]) * 1e3
    failures = ", ".join(f"{count} {code}" for code, count in load.failures.items()) or "none"
    table.add_row(
        str(len(load.latencies_s)), f"{len(load.latencies_s) / load.spent_s:.1f}",
        f"{p50:.1f}", f"{p95:.1f}", f"{p99:.1f}", failures,
    )  # fmt: skip
    print_table(table)
    try:
        if arguments.plot:
            arguments.plot.write_text(histogram_svg(load), encoding="utf-8")
    except OSError as error:
        print(f"discern: {error}", file=sys.stderr)
        return 1
    return 0


async def put_load(url: str, data: bytes, settings: Settings, clients: int, seconds: float) -> Load:
    """Keep `clients` requests under way for so long; the first, which warms up, is not counted."""
    load = Load()
    async with AsyncClient(url, **calling(settings)) as client:
        await client.segment(data)
        client.retries = Retries(attempts=1)  # a refusal is a result here
        began = time.perf_counter()
        end = began + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(_one_client(client, data, end, load))
        load.spent_s = time.perf_counter() - began
    return load


async def _one_client(client: AsyncClient, data: bytes, end: float, load: Load) -> None:
    while (began := time.perf_counter()) < end:
        try:
            await client.segment(data)
        except ServerProblem as problem:
            load.failures[problem.code or str(problem.status)] += 1
        except NoAnswer:
            load.failures["no answer"] += 1
        else:
            load.latencies_s.append(time.perf_counter() - began)


def histogram_svg(load: Load) -> str:
    """Draw the latencies as a histogram with p50, p95 and p99 marked."""
    milliseconds = np.array(load.latencies_s) * 1e3
    counts, edges = np.histogram(milliseconds, bins=40)
    scale = 600 / (edges[-1] - edges[0])
    bars = "".join(
        f'<rect x="{20 + (left - edges[0]) * scale:.1f}" y="{220 - 180 * count / counts.max():.1f}"'
        f' width="{600 / 40 - 1:.1f}" height="{180 * count / counts.max():.1f}" fill="#2a7f86"/>'
        for left, count in zip(edges[:-1], counts, strict=True)
    )
    marks = "".join(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="30" y2="222" stroke="#d9822b"/>'
        f'<text x="{x + 3:.1f}" y="{32 + 12 * row}">p{percent} {value:.1f} ms</text>'
        for row, percent in enumerate((50, 95, 99))
        for value in [float(np.percentile(milliseconds, percent))]
        for x in [20 + (value - edges[0]) * scale]
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 250" font-family="sans-serif" '
        f'font-size="11"><rect width="720" height="250" fill="#fff"/>{bars}{marks}'
        f'<text x="20" y="240">{edges[0]:.1f} ms</text>'
        f'<text x="600" y="240">{edges[-1]:.1f} ms</text></svg>\n'
    )
