"""A real Prometheus that scrapes every second, with the project's configuration and rules."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.monitoring.expressions import ROOT
from tests.triton_server.server import LOOPBACK, free_port

CONFIGURATION: Final = ROOT / "monitoring/prometheus/prometheus.yml"
PATIENCE_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A running server."""

    address: str

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API.

        Raises
        ------
        AssertionError
            If it answers with an error; its words are the message.
        """
        query = urllib.parse.urlencode(parameters)
        try:
            url = f"{self.address}{path}?{query}"
            with urllib.request.urlopen(url, timeout=30) as reply:  # noqa: S310 - loopback
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["error"]) from error

    def query(self, expression: str) -> list[float]:
        """Return the values of an instant query, in no order; NaN left out."""
        answer = self.get("/api/v1/query", query=expression)["result"]
        values = [float(sample["value"][1]) for sample in answer]
        return [value for value in values if not math.isnan(value)]

    def wait_for(self, expression: str) -> None:
        """Return once an expression has an answer.

        Raises
        ------
        AssertionError
            If it has none in time.
        """
        give_up = time.monotonic() + PATIENCE_S
        while not self.query(expression):
            assert time.monotonic() < give_up, f"no answer to {expression}"
            time.sleep(0.2)

    def wait_for_scrapes(self, count: int) -> None:
        """Return once every target has been scraped `count` more times, and rules evaluated."""
        began = self.query("vector(time())")[0]
        targets = "min(count_over_time(up[1h]))"
        before = self.query(targets)
        needed = (before[0] if before else 0) + count
        self.wait_for(f"{targets} >= {needed}")
        # A scrape that was under way when it all began may have seen half of what it should show.
        self.wait_for(f"min(timestamp(up)) > {began}")
        self.wait_for(f"min(timestamp(segment:slo_budget:ratio)) > {began}")


@contextmanager
def running_prometheus(
    program: str, folder: Path, targets: Mapping[str, Sequence[str]]
) -> Iterator[Prometheus]:
    """Run a server for the length of a block.

    Parameters
    ----------
    program : str
        Path of ``prometheus``.
    folder : Path
        Where it may write.
    targets : mapping of str to sequence of str
        What to scrape, by the job names of the project's configuration.
    """
    port = free_port()
    targets = {**targets, "prometheus": [f"{LOOPBACK}:{port}"]}
    configuration = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    configuration["global"] = dict.fromkeys(configuration["global"], "1s")
    configuration["rule_files"] = [
        str(CONFIGURATION.parent / pattern) for pattern in configuration["rule_files"]
    ]
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    process = subprocess.Popen(
        [
            "setpriv", "--pdeathsig", "KILL", program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=error",
        ],
        cwd=folder,
    )  # fmt: skip
    try:
        server = Prometheus(f"http://{LOOPBACK}:{port}")
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(server: Prometheus, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        assert process.poll() is None, f"Prometheus ended with {process.returncode}"
        try:
            with urllib.request.urlopen(f"{server.address}/-/ready", timeout=5):  # noqa: S310 - loopback
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("Prometheus is not ready")
