"""Time clustering and mask encoding beside what others use, in one run on the same data.

`benchmarks.bench` runs what stands here. Contenders take turns; each number is the quickest turn in
CPU time of the thread, which other processes on the machine disturb least. Throughput of threads is
wall time.

Axes: E embedding, H W image, K instances.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from scipy.spatial import cKDTree
from sklearn.cluster import HDBSCAN, MeanShift
from sklearn.metrics import adjusted_rand_score

from service.masks.polygon import polygons_of_labels
from service.masks.rle import encode_labels
from service.postprocess.clustering import cluster

BANDWIDTH = 1.5
MIN_PIXELS = 10

Call = Callable[[], Any]


class Map(NamedTuple):
    """An embedding, its foreground and its answer."""

    embedding: npt.NDArray[Any]
    foreground: npt.NDArray[np.bool_]
    labels: npt.NDArray[np.int32]


def draw_labels(
    height: int, width: int, count: int, *, everywhere: bool = False
) -> npt.NDArray[np.int32]:
    """Cover half of an image, or all of it, with `count` touching discs."""
    rng = np.random.default_rng(count)
    points = rng.uniform(size=(count, 2)) * [height, width]
    y, x = np.mgrid[:height, :width]
    places = np.stack([y.ravel(), x.ravel()], axis=1)
    gaps, owners = cKDTree(points).query(places, workers=1)
    radius = 1.1 * np.sqrt(height * width * 0.5 / count / np.pi)
    labels = np.where(everywhere | (gaps <= radius), owners + 1, 0).reshape(height, width)
    names = np.unique(labels, return_inverse=True)[1] + everywhere
    return names.reshape(height, width).astype(np.int32)


def draw_map(
    side: int,
    size: int,
    count: int,
    noise: float,
    dtype: str = "float32",
    *,
    everywhere: bool = False,
) -> Map:
    """Give discs centres at the paper's margin (3.0 apart, its neighbours exactly) and noise."""
    rng = np.random.default_rng(0)
    labels = draw_labels(side, side, count, everywhere=everywhere)
    lattice = int(np.ceil(count ** (1.0 / size)))
    cells = np.stack(
        np.unravel_index(rng.choice(lattice**size, count, replace=False), (lattice,) * size)
    )
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    places = np.concatenate((np.zeros((size, 1)), turn @ (cells * 3.0)), axis=1)
    block = rng.normal(scale=noise, size=(size, min(side, 512), min(side, 512)))
    repeats = (1, -(-side // block.shape[1]), -(-side // block.shape[2]))
    embedding = np.tile(block.astype(np.float32), repeats)[:, :side, :side]
    for e in range(size):
        embedding[e] += places[e].astype(np.float32)[labels]
    return Map(embedding.astype(dtype), labels > 0, labels)


def run_cluster(data: Map, bandwidth: float = BANDWIDTH) -> npt.NDArray[np.int32]:
    """Cluster a map as the gateway would."""
    return cluster(data.embedding, data.foreground, bandwidth=bandwidth, min_pixels=MIN_PIXELS)


def agreement(data: Map, found: npt.NDArray[np.int32]) -> float:
    """Return the adjusted Rand index over the foreground."""
    return float(adjusted_rand_score(data.labels[data.foreground], found[data.foreground]))


def quickest(calls: Sequence[Call], turns: int) -> list[float]:
    """Return the least CPU milliseconds of each call; they take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(turns):
        for i, call in enumerate(calls):
            begin = time.thread_time()
            call()
            best[i] = min(best[i], (time.thread_time() - begin) * 1e3)
    return best


def paper_loop(data: Map) -> npt.NDArray[np.int32]:
    """Follow arXiv:1708.02551 section 3.2 with arrays: shift one pixel's ball, label it, go on."""
    vectors = data.embedding[:, data.foreground].T.astype(np.float32)
    owners = np.zeros(len(vectors), np.int32)
    rng = np.random.default_rng(0)
    count = 0
    while (free := np.flatnonzero(owners == 0)).size:
        open_vectors = vectors[free]
        mean = open_vectors[rng.integers(free.size)]
        for _ in range(100):
            ball = ((open_vectors - mean) ** 2).sum(axis=1) < BANDWIDTH**2
            moved = open_vectors[ball].mean(axis=0)
            rests = np.linalg.norm(moved - mean) < 1e-4
            mean = moved
            if rests:
                break
        count += 1
        owners[free[ball]] = count
    labels = np.zeros(data.foreground.shape, np.int32)
    labels[data.foreground] = owners
    return labels


def mean_shift(data: Map, bandwidth: float = BANDWIDTH) -> npt.NDArray[np.int32]:
    """Cluster with scikit-learn's mean shift, bins as seeds."""
    fitted = MeanShift(bandwidth=bandwidth, bin_seeding=True).fit(
        data.embedding[:, data.foreground].T
    )
    labels = np.zeros(data.foreground.shape, np.int32)
    labels[data.foreground] = fitted.labels_ + 1
    return labels


def hdbscan(data: Map) -> npt.NDArray[np.int32]:
    """Cluster with scikit-learn's HDBSCAN."""
    fitted = HDBSCAN(min_cluster_size=MIN_PIXELS, copy=True).fit(
        data.embedding[:, data.foreground].T
    )
    labels = np.zeros(data.foreground.shape, np.int32)
    labels[data.foreground] = fitted.labels_ + 1
    return labels


def per_mask(labels: npt.NDArray[np.int32]) -> list[Any]:
    """Encode one mask at a time with pycocotools."""
    return [
        coco.encode(np.asfortranarray(labels == k, dtype=np.uint8))
        for k in range(1, int(labels.max()) + 1)
    ]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def reads(turns: int, cases: Sequence[tuple[int, int, int, float, str]]) -> str:
    """Compare clustering with one plain read of the float32 embedding, over many maps."""
    rows = []
    for side, size, count, noise, dtype in cases:
        data = draw_map(side, size, count, noise, dtype)
        wide = data.embedding.astype(np.float32)
        found = run_cluster(data)
        rounds = max(3, turns * 512 * 512 * 8 // (side * side * size))
        read, ours = quickest([wide.sum, partial(run_cluster, data)], rounds)
        rows.append(
            [
                f"{side}", f"{size}", f"{count}", f"{noise}", dtype, f"{read:.2f}", f"{ours:.2f}",
                f"**{ours / read:.2f}**", f"{ours * 1e6 / side**2:.1f}",
                f"{found.max()}", f"{agreement(data, found):.5f}",
            ]
        )  # fmt: skip
        print(rows[-1], flush=True)
    header = [
        "side", "E", "K", "noise", "dtype", "read ms", "cluster ms", "ratio", "ns a pixel",
        "found", "ARI to truth",
    ]  # fmt: skip
    return table(header, rows)


OTHERS: dict[str, Callable[[Map], npt.NDArray[np.int32]]] = {
    "NumPy, the paper's loop": paper_loop,
    "scikit-learn HDBSCAN": hdbscan,
    "scikit-learn MeanShift, bin_seeding": mean_shift,
}


def _keep(
    kept: list[npt.NDArray[np.int32]], call: Callable[[Map], npt.NDArray[np.int32]], data: Map
) -> None:
    kept.append(call(data))


def contenders(side: int, turns: int, names: Sequence[str]) -> str:
    """Compare clustering with what others use."""
    data = draw_map(side, 8, 30, 0.15)
    [ours] = quickest([lambda: run_cluster(data)], turns)
    reference = run_cluster(data)
    rows = [["ours", f"{ours:.2f}", "1", f"{agreement(data, reference):.5f}", "1"]]
    for name in names:
        found: list[npt.NDArray[np.int32]] = []
        [spent] = quickest([partial(_keep, found, OTHERS[name], data)], 1)
        same = adjusted_rand_score(reference[data.foreground], found[0][data.foreground])
        rows.append(
            [name, f"{spent:,.0f}", f"**{spent / ours:,.0f}**", f"{agreement(data, found[0]):.5f}",
             f"{same:.5f}"]
        )  # fmt: skip
        print(rows[-1], flush=True)
    return table(["", "ms", "times ours", "ARI to truth", "ARI to ours"], rows)


def mean_shift_table(turns: int) -> str:
    """Compare with mean shift at the ends of what the paper's margins allow, and on every pixel."""
    rows = []
    for everywhere in (False, True):
        data = draw_map(512, 8, 30, 0.15, everywhere=everywhere)
        for bandwidth in (1.0, BANDWIDTH):
            [ours] = quickest([partial(run_cluster, data, bandwidth)], turns)
            begin = time.thread_time()
            theirs = mean_shift(data, bandwidth)
            spent = (time.thread_time() - begin) * 1e3
            same = adjusted_rand_score(
                run_cluster(data, bandwidth)[data.foreground], theirs[data.foreground]
            )
            rows.append(
                ["every pixel" if everywhere else "half", f"{bandwidth}", f"{ours:.2f}",
                 f"{spent:,.0f}", f"**{spent / ours:,.0f}**", f"{same:.5f}"]
            )  # fmt: skip
            print(rows[-1], flush=True)
    header = ["foreground", "bandwidth", "ours ms", "MeanShift ms", "times ours", "ARI to ours"]
    return table(header, rows)


def encoding(cases: Sequence[tuple[int, int, int]], turns: int) -> str:
    """Compare one pass over the labels with pycocotools mask by mask."""
    rows = []
    for height, width, count in cases:
        labels = draw_labels(height, width, count)
        [theirs] = quickest([partial(per_mask, labels)], 1)
        read, ours, outlines = quickest(
            [labels.sum, partial(encode_labels, labels), partial(polygons_of_labels, labels)], turns
        )
        rows.append(
            [f"{height} x {width}", f"{labels.max()}", f"{theirs:.0f}", f"{ours:.2f}",
             f"**{theirs / ours:,.0f}**", f"{ours / read:.1f}", f"{outlines:.1f}"]
        )  # fmt: skip
        print(rows[-1], flush=True)
    header = ["image", "K", "pycocotools ms", "ours ms", "times faster", "reads of the labels",
              "polygons ms"]  # fmt: skip
    return table(header, rows)


def throughput(threads: int, seconds: float, call: Call) -> tuple[float, float]:
    """Return calls a second of so many threads, and the median CPU milliseconds of a call."""
    spent: list[float] = []
    stop = time.perf_counter() + seconds

    def work() -> None:
        while time.perf_counter() < stop:
            begin = time.thread_time()
            call()
            spent.append((time.thread_time() - begin) * 1e3)

    pool = [threading.Thread(target=work) for _ in range(threads)]
    begin = time.perf_counter()
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return len(spent) / (time.perf_counter() - begin), float(np.median(spent))


def threads_table(seconds: float) -> str:
    """Compare one thread with two.

    Calls a second double only where two cores are free; CPU time per call stays as it is where
    threads do not wait for one another's memory.
    """
    data = draw_map(512, 8, 30, 0.15, "float16")
    labels = draw_labels(1080, 1920, 200)
    rows = []
    for name, call in (
        ("cluster, 512 x 512, E=8, K=30", lambda: run_cluster(data)),
        ("encode_labels, 1080 x 1920, K=200", lambda: encode_labels(labels)),
    ):
        call()
        pairs = [(throughput(1, seconds, call), throughput(2, seconds, call)) for _ in range(5)]
        one, two = max(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
        rows.append(
            [name, f"{one[0]:.0f}", f"{two[0]:.0f}", f"**{two[0] / one[0]:.2f}**",
             f"{min(pair[0][1] for pair in pairs):.2f}", f"{min(pair[1][1] for pair in pairs):.2f}",
             f"{os.getloadavg()[0]:.0f}"]
        )  # fmt: skip
        print(rows[-1], flush=True)
    header = [
        "", "one thread, calls/s", "two threads, calls/s", "ratio", "CPU ms a call, alone",
        "beside another", "load average of the machine",
    ]  # fmt: skip
    return table(header, rows)


MEMORY = """
import sys, numpy as np
from benchmarks.bench_kernels import draw_labels, draw_map, run_cluster, peak_of
from service.masks.rle import encode_labels
small = draw_map(256, 8, 8, 0.15); run_cluster(small); encode_labels(small.labels)
data = draw_map(2048, 8, 480, 0.15)
print(peak_of(lambda: run_cluster(data)) / data.embedding.nbytes)
labels = draw_labels(2160, 3840, 200)
print(peak_of(lambda: encode_labels(labels)) / labels.nbytes)
wild = np.random.default_rng(0).integers(0, 200, (2160, 3840), dtype=np.int32)
print(peak_of(lambda: encode_labels(wild)) / wild.nbytes)
"""


def peak_of(call: Call) -> int:
    """Return by how many bytes the resident memory of this process rises in a call (Linux)."""
    status = Path("/proc/self/status")

    def resident(field: str) -> int:
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024

    ctypes.CDLL(None).malloc_trim(0)  # memory freed earlier must not be there to be used again
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def memory_table() -> str:
    """Measure extra memory in a fresh process."""
    out = subprocess.run(  # noqa: S603 - this interpreter, the text above
        [sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True
    ).stdout.split()
    rows = [
        ["cluster, 2048 x 2048, E=8, float32", f"{float(out[0]):.2f} of the embedding"],
        ["encode_labels, 2160 x 3840, K=200", f"{float(out[1]):.2f} of the label image"],
        ["encode_labels, 2160 x 3840, noise", f"{float(out[2]):.2f} of the label image"],
    ]
    return table(["", "extra memory, result included"], rows)
