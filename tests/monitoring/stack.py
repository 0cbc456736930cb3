"""Gateway and Triton under a load in which everything happens: answers, refusals, failures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import numpy as np

from tests.contract.networks import write_model
from tests.live import Answer, LiveGateway
from tests.scenes import MODEL, draw_scene, png_of, write_scenes_model
from tests.triton_server.server import LOOPBACK

KEY: Final = "a-key-for-tests"
TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT: Final = f"00-{TRACE}-00f067aa0ba902b7-01"
# What Triton says of a GPU; names and units as its documentation has them.
GPU: Final = "\n".join(
    f'{name}{{gpu_uuid="GPU-0"}} {value}'
    for name, value in {
        "nv_gpu_utilization": 0.42,
        "nv_gpu_memory_used_bytes": 9.0e9,
        "nv_gpu_memory_total_bytes": 2.4e10,
        "nv_gpu_power_usage": 140.0,
    }.items()
)


def write_models(repository: Path) -> None:
    """Write the models that the load asks for."""
    write_scenes_model(repository)
    for kind in ("slow", "fail"):
        write_model(repository, kind, kind)


def write_keys(path: Path) -> None:
    """Write a file with one API key."""
    path.write_text(f"tester sha256:{hashlib.sha256(KEY.encode()).hexdigest()}\n")


def lever_image(level: int) -> bytes:
    """Return an image that the networks ``slow`` and ``fail`` react to."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[0, 0, 0] = level
    return png_of(pixels)


def ask(gateway: LiveGateway, image: bytes, query: str = "") -> Answer:
    """Post an image as a known client, within a known trace."""
    return gateway.request(
        "POST", f"/segment{query}", image, content_type="image/png",
        authorization=f"Bearer {KEY}", traceparent=TRACEPARENT,
    )  # fmt: skip


def load(gateway: LiveGateway) -> dict[str, int]:
    """Send requests of every kind and return how often each status came back."""
    scene = png_of(draw_scene(seed=1)[0])
    ordinary = [(scene, f"?model={MODEL}")] * 24
    refused = [
        (b"no image", ""),
        (scene, "?model=nobody"),
        (scene, "?min_score=7"),
        (lever_image(1), "?model=fail"),
        (lever_image(9), "?model=slow&timeout_ms=300"),
    ]
    with ThreadPoolExecutor(4) as clients:
        calm = list(clients.map(lambda case: ask(gateway, *case), ordinary + refused))
    with ThreadPoolExecutor(12) as clients:
        crowd = list(clients.map(lambda _: ask(gateway, lever_image(3), "?model=slow"), range(24)))
    statuses = [str(answer.status) for answer in [*calm, *crowd]]
    return {status: statuses.count(status) for status in statuses}


@contextmanager
def gpu_exporter() -> Iterator[str]:
    """Serve what Triton says of a GPU, for machines that have none; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"{GPU}\n".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"{LOOPBACK}:{server.server_port}"
        server.shutdown()
