"""A real gateway for the client to talk to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.scenes import running_server, write_scenes_model


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    with running_server(repository) as address:
        yield address


class _LogIn(BaseHTTPRequestHandler):
    """A proxy that answers everything with a page."""

    def do_GET(self) -> None:
        page = b"<!doctype html><title>Log in</title>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Drops(BaseHTTPRequestHandler):
    """A server whose answer takes three seconds, and comes a space at a time."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "32")
        self.end_headers()
        with suppress(OSError):  # the client went away
            for byte in "[" + 30 * " " + "]":
                self.wfile.write(byte.encode())
                time.sleep(0.1)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _DropsHeaders(BaseHTTPRequestHandler):
    """A server whose answer comes a byte at a time from its first header on, for twenty seconds."""

    def do_GET(self) -> None:
        with suppress(OSError):  # the client went away
            self.wfile.write(b"HTTP/1.1 200 OK\r\nServer: ")
            for _ in range(200):
                self.wfile.write(b".")
                time.sleep(0.1)
            self.wfile.write(b"\r\nContent-Length: 2\r\n\r\n[]")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Garbles(BaseHTTPRequestHandler):
    """A proxy whose answers cannot be decompressed."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def proxy() -> Iterator[str]:
    """The address of what is no Discern server, and says 200 to everything."""
    with _serving(_LogIn) as address:
        yield address


@pytest.fixture(scope="session")
def dropping() -> Iterator[str]:
    """The address of a server whose answers come in drops."""
    with _serving(_Drops) as address:
        yield address


@pytest.fixture(scope="session")
def dropping_headers() -> Iterator[str]:
    """The address of a server whose headers come in drops."""
    with _serving(_DropsHeaders) as address:
        yield address


@pytest.fixture(scope="session")
def garbling() -> Iterator[str]:
    """The address of a server whose answers cannot be decompressed."""
    with _serving(_Garbles) as address:
        yield address
