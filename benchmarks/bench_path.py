"""What a request costs between its bytes and the answer's, apart from the network.

``python -m benchmarks.bench_path`` times each stage alone on one thread, on the stages' own code
and three image sizes: decode, padding, foreground, clustering, scores, mask encoding, JSON. The
embedding is drawn, in half precision as networks send it, so that no network is needed; what the
shipped network takes for the smallest image is beside it, on one thread.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from benchmarks.bench_kernels import draw_labels, quickest, table
from service import signature
from service.api.formats import write_instances
from service.domain import Category, ImageLimits, Prediction
from service.imaging.decode import decode_image
from service.imaging.geometry import fit
from service.postprocess.clustering import decode_discriminative
from service.postprocess.extract import extract, rank
from service.postprocess.extract import label as find
from service.postprocess.foreground import foreground_masks
from service.postprocess.labelled import DEFAULT_OPTIONS
from service.postprocess.scores import expected_iou
from service.recipe import Recipe

SIZES: tuple[tuple[int, int, int], ...] = ((256, 256, 30), (1024, 1024, 300), (2160, 3840, 1000))
"""Height, width, instances."""

EMBEDDING, MULTIPLE = 4, 32
NETWORK = "model_repository/nuclei/1/model.onnx"
RECIPE = Recipe(
    method="discriminative",
    embedding_size=EMBEDDING,
    classes=(Category(1, "disc"),),
    size_multiple=MULTIPLE,
    decoder={"bandwidth": 1.5, "min_pixels": 10},
)


def scene(height: int, width: int, count: int) -> tuple[npt.NDArray[np.uint8], Prediction]:
    """Draw discs on a noisy ground and what a network would say of them."""
    rng = np.random.default_rng(0)
    labels = draw_labels(height, width, count)
    grey = np.clip(rng.normal(40, 6, labels.shape) + 120 * (labels > 0), 0, 255).astype(np.uint8)
    tall, wide = -height % MULTIPLE, -width % MULTIPLE
    padded = np.pad(labels, ((0, tall), (0, wide)))
    side = int(np.ceil(count ** (1.0 / EMBEDDING)))
    cells = np.stack(np.unravel_index(np.arange(side**EMBEDDING), (side,) * EMBEDDING))
    places = np.concatenate((np.zeros((EMBEDDING, 1)), 3.0 * cells[:, :count]), axis=1)
    embedding = places.astype(np.float16)[:, padded]
    embedding += rng.normal(scale=0.15, size=embedding.shape).astype(np.float16)
    logits = np.where(padded > 0, 6.0, -6.0).astype(np.float16)[np.newaxis]
    return np.stack([grey] * 3, axis=-1), Prediction(embedding, logits, {})


def in_file(pixels: npt.NDArray[np.uint8], form: str) -> bytes:
    """Write an image as PNG or JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **({"quality": 90} if form == "JPEG" else {}))
    return file.getvalue()


def stages(height: int, width: int, count: int) -> dict[str, Callable[[], Any]]:
    """Return every stage of one request, ready to call."""
    pixels, prediction = scene(height, width, count)
    shape = (height, width)
    logits = prediction.foreground_logits[:, :height, :width]
    embedding = prediction.embedding[:, :height, :width]
    [mask] = foreground_masks(logits, 0.5)
    cluster = partial(decode_discriminative, embedding, mask, bandwidth=1.5, min_pixels=10)
    decoded = cluster()
    found = find(prediction, RECIPE, shape)
    segmentation = extract(prediction, RECIPE, shape)
    return {
        "decode PNG": partial(decode_image, in_file(pixels, "PNG"), ImageLimits()),
        "decode JPEG": partial(decode_image, in_file(pixels, "JPEG"), ImageLimits()),
        "pad": partial(fit, pixels, multiple=MULTIPLE),
        "foreground": partial(foreground_masks, logits, 0.5),
        "cluster": cluster,
        "scores": partial(expected_iou, decoded.labels, logits[0], decoded.confidence.size),
        "rank, encode": lambda: rank(
            type(found)(found.labels.copy(), found.scores, found.classes), RECIPE, DEFAULT_OPTIONS
        ),
        "JSON": partial(write_instances, segmentation, segmentation.rles),
    }


def network_ms(height: int, width: int) -> float:
    """Return what the shipped network takes on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
    image = np.zeros((1, height, width, 3), np.uint8)
    return quickest([lambda: session.run(None, {signature.IMAGE: image})], 3)[0]


def path_table(turns: int = 10) -> str:
    """Time every stage on every size, in milliseconds."""
    rows: dict[str, list[str]] = {}
    for height, width, count in SIZES:
        calls = stages(height, width, count)
        rounds = max(3, turns * 1024 * 1024 // (height * width))
        for name, spent in zip(calls, quickest(list(calls.values()), rounds), strict=True):
            rows.setdefault(name, []).append(f"{spent:.2f}")
    rows["network, one thread"] = [f"{network_ms(256, 256):.0f}", *repeat("", len(SIZES) - 1)]
    header = ["ms", *(f"{w} x {h}, K={k}" for h, w, k in SIZES)]
    lines: list[Sequence[str]] = [[name, *values] for name, values in rows.items()]
    return table(header, lines)


def main() -> None:
    """Print the table."""
    print(path_table())


if __name__ == "__main__":
    main()
