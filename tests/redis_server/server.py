"""A real Redis, for as long as a test wants it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

from tests.live import free_port
from tests.redis_server.install import HOME, find


def located() -> str:
    """Return where ``redis-server`` is, or skip; where continuous integration runs, fail."""
    path = find()
    if path:
        return path
    if os.environ.get("CI"):
        pytest.fail("redis-server is not installed, and CI must test it: make redis-install")
    return pytest.skip("redis-server is not installed: make redis-install")


@dataclass(slots=True)
class RedisServer:
    """``redis-server`` on a free port; its append-only file is in a folder and outlives it."""

    program: str
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> RedisServer:
        self.port = self.port or free_port()
        libraries = ":".join(str(path.parent) for path in HOME.glob("usr/lib/*/liblzf.so.1"))
        self.process = subprocess.Popen(
            [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--dir", str(self.folder)],
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with Redis.from_url(self.url) as redis:
            while True:
                try:
                    redis.ping()
                except NoConnection:
                    assert self.process.poll() is None, "redis-server ended"
                    time.sleep(0.01)
                else:
                    return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it as a power cut does; `__enter__` starts it again on the same port."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def empty(self) -> None:
        """Forget everything."""
        with Redis.from_url(self.url) as redis:
            redis.flushall()
