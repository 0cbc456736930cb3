"""Start and stop the real Triton server of ``make triton-install`` on loopback."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.triton_server.install import BACKENDS, SERVER

START_TIMEOUT_S = 60.0
LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass
class TritonServer:
    """One server process, which ends with this one at the latest.

    Parameters
    ----------
    repository : Path
        Its model repository.
    options : sequence of str
        Further command line options.
    http_port, grpc_port, metrics_port : int
        Where it listens on loopback; a restart listens at the same.
    log : Path, optional
        Where its output goes; nowhere when None.
    prefix : str
        Of the names of the shared memory between server and python backend.
    """

    repository: Path
    options: Sequence[str] = ()
    http_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    log: Path | None = None
    prefix: str = field(default_factory=lambda: f"stub-{secrets.token_hex(4)}-")
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where gRPC clients connect."""
        return f"{LOOPBACK}:{self.grpc_port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self.process is not None, "not started"
        return self.process.pid

    def command(self) -> list[str]:
        """Return the command line: production's options, on loopback."""
        return [
            # The server must not outlive whoever started it, however that ends.
            "setpriv", "--pdeathsig", "KILL",
            str(SERVER / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={BACKENDS}",
            f"--http-address={LOOPBACK}", f"--http-port={self.http_port}",
            f"--grpc-address={LOOPBACK}", f"--grpc-port={self.grpc_port}",
            f"--metrics-address={LOOPBACK}", f"--metrics-port={self.metrics_port}",
            "--allow-gpu-metrics=false",
            "--exit-timeout-secs=5",
            f"--backend-config=python,shm-region-prefix-name={self.prefix}",
            *self.options,
        ]  # fmt: skip

    def launch(self) -> None:
        """Start the process without waiting for it."""
        bin_folder = str(Path(sys.executable).parent)
        environment = os.environ | {
            # The python backend embeds the python3 that it finds first, packages and all.
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
        }
        with self.log.open("ab") if self.log else contextlib.nullcontext() as log:
            self.process = subprocess.Popen(
                self.command(),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log or subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start the process and wait until it takes requests."""
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the server answers that it is ready."""
        assert self.process is not None, "not started"
        give_up = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"tritonserver ended with {self.process.returncode}")
            if time.monotonic() > give_up:
                raise RuntimeError(f"tritonserver not ready in {START_TIMEOUT_S:g} s")
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Ask once."""
        url = f"http://{LOOPBACK}:{self.http_port}/v2/health/ready"
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # A killed server leaves the processes of its python backend behind, in its session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process = None
        for left in Path("/dev/shm").glob(f"{self.prefix}*"):  # noqa: S108 - a killed server's
            left.unlink(missing_ok=True)

    def processor_s(self) -> float:
        """Return the processor time that its session has taken, in seconds."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = stat.read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:13])) if int(fields[3]) == self.pid else 0
        return ticks / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> dict[str, float]:
        """Return the server's metrics, by name and labels as they stand."""
        url = f"http://{LOOPBACK}:{self.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as reply:
            lines = reply.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextlib.contextmanager
def running(server: TritonServer) -> Iterator[TritonServer]:
    """Run a server for the length of a block."""
    try:
        server.start()
        yield server
    finally:
        server.kill()


def main() -> None:
    """Serve a repository in the foreground: ``server.py [REPOSITORY] [OPTION ...]``."""
    repository, *options = sys.argv[1:] or ["model_repository"]
    server = TritonServer(
        Path(repository), options, http_port=18000, grpc_port=18001, metrics_port=18002
    )
    print(f"Triton: gRPC {server.address}, HTTP port 18000, metrics port 18002; Ctrl-C ends it")  # noqa: T201 - this is the command's answer
    with contextlib.suppress(KeyboardInterrupt), running(server):
        print(f"ready; DISCERN_TRITON_URL={server.address} discern serve")  # noqa: T201 - this is the command's answer
        assert server.process is not None
        server.process.wait()


if __name__ == "__main__":
    main()
