"""What `/segment` costs beyond the bare network: both measured in turn, in one run.

    python -m benchmarks.end_to_end [IMAGE] [--model nuclei] [--repeats 60]

The bare call is ONNX Runtime on the decoded image with the same number of threads; the request goes
over loopback HTTP to the real gateway, on one kept-alive connection.
"""

from __future__ import annotations

import argparse
import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
import orjson

from benchmarks.running_gateway import running_gateway
from service import signature
from service.domain import ImageLimits
from service.imaging.decode import decode_image
from service.imaging.geometry import fit


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?", default=Path("examples/nuclei.png"))
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--repeats", type=int, default=60)
    arguments = parser.parse_args()
    data = arguments.image.read_bytes()
    with running_gateway() as (address, pid):
        target = urlsplit(address)
        connection = http.client.HTTPConnection(target.hostname or "", target.port)
        path = f"/segment?model={arguments.model}"
        bare = _bare_call(data, arguments.model, connection)
        stages: list[dict[str, float]] = []

        def request() -> None:
            stages.append(_post(connection, path, data)["timings_ms"])

        ours, network = _in_turn(request, bare, arguments.repeats)
        print(f"{arguments.image.name}, {os.cpu_count()} cores, {arguments.repeats} repeats")
        print(f"request {ours:.1f} ms, bare network {network:.1f} ms, ratio {ours / network:.2f}")
        for stage in stages[0]:
            print(f"  {stage:12} {median(entry[stage] for entry in stages):7.2f} ms")
        resident = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]
        print(f"resident memory of the gateway {int(resident) / 1024:.0f} MiB")


def _bare_call(
    data: bytes, model: str, connection: http.client.HTTPConnection
) -> Callable[[], None]:
    connection.request("GET", f"/models/{model}")
    multiple = orjson.loads(connection.getresponse().read())["size_multiple"]
    pixels = fit(decode_image(data, ImageLimits()).pixels, multiple=multiple)[np.newaxis]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    # Or this process would go on spinning into the request that is measured next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        f"model_repository/{model}/1/model.onnx", options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {signature.IMAGE: pixels})


def _post(
    connection: http.client.HTTPConnection, path: str, data: bytes
) -> dict[str, dict[str, float]]:
    connection.request("POST", path, data, {"Content-Type": "image/png"})
    answer: dict[str, dict[str, float]] = orjson.loads(connection.getresponse().read())
    return answer


def _in_turn(
    first: Callable[[], None], second: Callable[[], None], repeats: int
) -> tuple[float, float]:
    """Return the median milliseconds of each, called alternately after a few rounds of warm-up."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeats + 5):
        for call, times in zip((first, second), spent, strict=True):
            began = time.perf_counter()
            call()
            if turn >= 5:
                times.append((time.perf_counter() - began) * 1e3)
    return median(spent[0]), median(spent[1])


if __name__ == "__main__":
    main()
