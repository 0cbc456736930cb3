"""``python -m tests.chaos [NAME …]``: run scenarios, print what was asked and measured.

``--write`` puts the lines into docs/RELIABILITY.md, in place of those of the same scenario.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from tests.chaos import faults, jobs, load, senders
from tests.chaos.ground import Row
from tests.chaos.soak import soak
from tests.live import ROOT

Scenario = Coroutine[Any, Any, list[Row]]
PAGE = ROOT / "docs" / "RELIABILITY.md"
CHAOS = (
    "overload",
    "disconnects",
    "slow-bodies",
    "terminate",
    "kill-jobs",
    "kill-shared-jobs",
    "kill-backend",
    "disk-full",
    "clock-jumps",
    "bombs",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos")
    parser.add_argument("names", nargs="*", default=list(CHAOS), metavar="NAME")
    parser.add_argument("--seconds", type=float, default=60, help="length of overload and soak")
    parser.add_argument("--rate", type=float, default=4, help="acts of the soak in a second")
    parser.add_argument("--write", action="store_true", help="keep the results in the page")
    arguments = parser.parse_args()
    good = True
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as folder:
            # The load shares the machine with what it weighs: it should be light.
            rows = uvloop.run(_scenario(name, Path(folder), arguments.seconds, arguments.rate))
        for row in rows:
            mark = "ok  " if row.good else "MISS"
            sys.stdout.write(f"{mark} {row.what}: asked {row.asked}, measured {row.measured}\n")
            sys.stdout.flush()
        good = good and all(row.good for row in rows)
        if arguments.write:
            _write(name, rows)
    return 0 if good else 1


def _scenario(name: str, folder: Path, seconds: float, rate: float) -> Scenario:
    scenarios: dict[str, Callable[[], Scenario]] = {
        "overload": lambda: load.overload(seconds),
        "disconnects": lambda: senders.disconnects(1000),
        "slow-bodies": lambda: senders.slow_bodies(100),
        "terminate": load.terminate_under_load,
        "kill-jobs": lambda: jobs.kill_job_runner(folder, kills=10, jobs=20),
        "kill-shared-jobs": lambda: jobs.kill_shared_runners(folder, kills=10, jobs=20),
        "kill-backend": lambda: faults.backend_restarts(kills=5),
        "disk-full": lambda: faults.disk_full(folder),
        "clock-jumps": lambda: faults.clock_jumps(folder),
        "bombs": senders.bombs,
        "soak": lambda: soak(folder, seconds, rate),
    }
    if name not in scenarios:
        raise SystemExit(f"no scenario {name!r}; there are {', '.join(scenarios)}")
    return scenarios[name]()


def _write(name: str, rows: list[Row]) -> None:
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lines = [
        f"| {row.what} | {row.asked} | {row.measured}{'' if row.good else ' (missed)'} | {day} |"
        for row in rows
    ]
    begin, end = f"<!-- chaos: {name} -->\n", f"<!-- end: {name} -->"
    table = "| what | asked | measured | on |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: begin + table + end, text), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
