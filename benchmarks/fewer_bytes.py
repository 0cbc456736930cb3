"""What smaller outputs cost in accuracy and save in time: the shipped network, rewritten.

    python -m benchmarks.fewer_bytes --data DIR [--list stardist_val] [--limit N] [--repeats 9]

Every form is a model that is really served (`training.deployment.shrink`): its accuracy is that of
its own artefact, its time that of a call over gRPC and of its decoding. Nothing is trained anew, so
a network made for the form can only do better. Directions and scales come from the training images.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from service.backends.base import CallContext
from service.backends.triton import TritonBackend
from service.domain import Deadline
from service.pipeline import to_prediction
from tests.triton_server.server import TritonServer, running
from training.deployment.export import Artefact, open_artefact
from training.deployment.shrink import form_for, shrink
from training.metrics.matching import match, overlap
from training.scoring.decoding import as_rgb, read

SIDE = 512
THRESHOLDS = (0.5, 0.7, 0.9)
SHOWN = 24
"""Training images that show what vectors there are."""

Image = npt.NDArray[np.uint8]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--list", default="stardist_val")
    parser.add_argument("--labels", default="labels_stardist")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    source = Path("model_repository") / arguments.model
    names = _names(arguments.data, arguments.list)[: arguments.limit]
    images = [_image(arguments.data, name) for name in names]
    truths = [
        cv2.imread(str(arguments.data / arguments.labels / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        for name in names
    ]
    with tempfile.TemporaryDirectory() as folder:
        shown = [_image(arguments.data, n) for n in _names(arguments.data, "stardist_train")]
        forms = write_forms(source, shown[:SHOWN], Path(folder))
        spent = asyncio.run(time_forms(Path(folder), forms, images[0], arguments.repeats))
        print(f"{arguments.model} on {len(names)} images of {arguments.list}")
        print("| embedding | MiB out | call ms | decoding ms | AP@0.5 | AP@0.7 | AP@0.9 |")
        print("|---|---|---|---|---|---|---|")
        for name, text in forms.items():
            artefact = open_artefact(Path(folder) / name, threads=2)
            scores = [
                score(artefact, image, np.asarray(truth, np.int32))
                for image, truth in zip(images, truths, strict=True)
            ]
            mib, call_ms, decode_ms = spent[name]
            accuracy = " | ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
            print(
                f"| {text} | {mib:.2f} | {call_ms:.1f} | {decode_ms:.1f} | {accuracy} |", flush=True
            )


def write_forms(source: Path, shown: Sequence[Image], repository: Path) -> dict[str, str]:
    """Write a model folder for every form; return what each is, by its folder's name."""
    artefact = open_artefact(source, threads=2)
    predictions = [artefact.predict(image) for image in shown]
    size = artefact.recipe.embedding_size
    written = {}
    for dimensions in dict.fromkeys((size, 2)):
        for stride in (1, 2):
            for quantise in (False, True):
                form = form_for(
                    predictions,
                    artefact.recipe,
                    stride=stride,
                    dimensions=None if dimensions == size else dimensions,
                    quantise=quantise,
                )
                name = f"d{dimensions}s{stride}{'q' if quantise else ''}"
                shrink(source, form, repository, name)
                kind = "8 bits" if quantise else "FP16"
                written[name] = f"{dimensions} x {kind}" + f", stride {stride}" * (stride > 1)
    return written


async def time_forms(
    repository: Path, forms: Mapping[str, str], image: Image, repeats: int
) -> dict[str, tuple[float, float, float]]:
    """Return MiB out, milliseconds of a call over gRPC and of its decoding, by form."""
    times = -(-SIDE // min(image.shape[:2]))
    pixels = np.tile(as_rgb(image), (times, times, 1))[None, :SIDE, :SIDE]
    spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in forms}
    with running(TritonServer(repository)) as triton:
        backend = TritonBackend([triton.address])
        await backend.start()
        for _ in range(repeats + 1):
            for name in forms:
                model = await backend.model(name)
                context = CallContext("bench", Deadline.after(60.0))
                began = time.perf_counter()
                outputs = await backend.infer(np.ascontiguousarray(pixels), model, context)
                called = time.perf_counter()
                read(to_prediction(outputs.tensors, index=0), model.recipe, (SIDE, SIDE))
                decoded = time.perf_counter()
                spent[name].append(
                    (outputs.bytes_out / 2**20, (called - began) * 1e3, (decoded - called) * 1e3)
                )
        await backend.aclose()
    # The first round meets caches that are cold and kernels that are not compiled.
    return {name: _medians(rounds[1:]) for name, rounds in spent.items()}


def score(artefact: Artefact, image: Image, truth: npt.NDArray[np.int32]) -> list[float]:
    """Return the average precision of a model on one image, at every threshold."""
    size = (image.shape[0], image.shape[1])
    labels = read(artefact.predict(image), artefact.recipe, size)
    pair = overlap(truth, labels)
    return [match(pair, threshold).ap for threshold in THRESHOLDS]


def _medians(rounds: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    first, second, third = (statistics.median(column) for column in zip(*rounds, strict=True))
    return first, second, third


def _names(data: Path, split: str) -> list[str]:
    return (data / f"{split}.txt").read_text().split()


def _image(data: Path, name: str) -> Image:
    pixels = cv2.imread(str(data / "images" / f"{name}.png"), cv2.IMREAD_COLOR_RGB)
    return np.asarray(pixels, np.uint8)


if __name__ == "__main__":
    main()
