"""Kill a Triton server over and over while a gateway works on it, and see what its clients see."""

from __future__ import annotations

import http.client
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from benchmarks.running_gateway import running_gateway
from service.backends.shared_memory import FOLDER, PREFIX
from tests.triton_server.server import TritonServer

CLIENTS = 4
TIMEOUT_MS = 5_000
UP_S = 1.5
DOWN_S = 0.5


@dataclass
class Seen:
    """What the clients saw.

    Parameters
    ----------
    statuses : Counter
        Answers by status.
    late_s : list of float
        By how much answers missed their deadline; negative when they did not.
    answers : set of str
        Different lists of instances among the successes; the image is the same, so one is right.
    malformed : int
        Failures that were no problem documents.
    last_success_s : float
        When an answer was last a success.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    late_s: list[float] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)
    malformed: int = 0
    last_success_s: float = 0.0


def kill_repeatedly(triton: TritonServer, data: bytes, *, kills: int) -> None:
    """Run the load, kill and restart the server, and print what was seen."""
    seen = Seen()
    stop = threading.Event()
    gaps: list[float] = []
    with running_gateway(
        triton_url=triton.address, triton_shared_memory="true", log_level="error"
    ) as (address, pid):
        url = f"{address}/segment?timeout_ms={TIMEOUT_MS}"
        clients = [
            threading.Thread(target=_client, args=(url, data, seen, stop)) for _ in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        time.sleep(3 * UP_S)
        resident = [_resident_mib(pid)]
        for _ in range(kills):
            triton.kill()
            time.sleep(DOWN_S)
            triton.start()
            ready = time.monotonic()
            while seen.last_success_s < ready and time.monotonic() < ready + 30:
                time.sleep(0.005)
            gaps.append(seen.last_success_s - ready)
            time.sleep(UP_S)
            resident.append(_resident_mib(pid))
        stop.set()
        for client in clients:
            client.join()
        regions = len(list(FOLDER.glob(f"{PREFIX}*")))
        print(f"{kills} kills, {CLIENTS} clients, deadline {TIMEOUT_MS / 1e3:g} s, shared memory")
        print(f"answers by status: {dict(sorted(seen.statuses.items()))}")
        print(f"failures that were no problem document: {seen.malformed}")
        print(f"different answers to the one image: {len(seen.answers)}")
        print(f"latest answer relative to its deadline: {max(seen.late_s):+.2f} s")
        print(f"success after ready: median {statistics.median(gaps):.2f} s, worst {max(gaps):.2f}")
        print(
            f"gateway's memory: {resident[0]:.0f} MiB, then {resident[1]:.0f}, at the end "
            f"{resident[-1]:.0f}"
        )
        print(f"regions in use by the gateway: {regions}")
    left = len(list(FOLDER.glob(f"{PREFIX}*")))
    print(f"regions left after it ended: {left}")


def _client(url: str, data: bytes, seen: Seen, stop: threading.Event) -> None:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
    while not stop.is_set():
        began = time.monotonic()
        connection.request(
            "POST", f"{target.path}?{target.query}", data, {"Content-Type": "image/png"}
        )
        reply = connection.getresponse()
        body = reply.read()
        now = time.monotonic()
        seen.statuses[reply.status] += 1
        seen.late_s.append(now - began - TIMEOUT_MS / 1e3)
        if reply.status == http.HTTPStatus.OK:
            seen.last_success_s = now
            seen.answers.add(str(orjson.loads(body)["instances"]))
        else:
            problem = reply.headers.get_content_type() == "application/problem+json"
            seen.malformed += not (problem and orjson.loads(body)["status"] == reply.status)


def _resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024
