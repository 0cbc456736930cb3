"""A real gateway in a process of its own, for tests that use it as its users do."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
_READY = re.compile(r"Discern is ready at (\S+)")


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


@dataclass(slots=True)
class LiveGateway:
    """``python -m service serve`` with the settings given, on a free port."""

    settings: dict[str, str] = field(default_factory=dict)
    module: str = "service"
    environment: dict[str, str] = field(default_factory=dict)
    address: str = ""
    process: subprocess.Popen[str] | None = None

    def __enter__(self) -> LiveGateway:
        settings = {f"DISCERN_{name.upper()}": value for name, value in self.settings.items()}
        fixed = {"DISCERN_PORT": "0", "DISCERN_LOG_FORMAT": "json"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module, "serve"],
            cwd=ROOT,
            env={**os.environ, **fixed, **settings, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := _READY.search(line):
                self.address = found.group(1)
                return self
        raise RuntimeError(f"the gateway ended with status {self.process.wait()}")

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, as an operator would, and return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection of one's own."""
        target = urlsplit(self.address)
        assert target.hostname is not None
        return http.client.HTTPConnection(target.hostname, target.port, timeout=60)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one request; header names are given with underscores."""
        connection = self.connect()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, named)
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())
        finally:
            connection.close()

    def segment(self, image: bytes, query: str = "", kind: str = "image/png") -> Answer:
        """Post an image as a raw body."""
        return self.request("POST", f"/segment{query}", image, content_type=kind)
