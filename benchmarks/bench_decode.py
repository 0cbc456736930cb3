"""Time `decode_image` beside plain Pillow and plain OpenCV on the same bytes, in one run.

``python -m benchmarks.bench_decode`` prints milliseconds (the quickest turn) and ratios.
Pillow's time is for open, orient and convert to RGB; OpenCV's is one bare `imdecode`, without
limits, orientation or transparency. Of 16 bits both only read the numbers; ours scales them too.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from service.domain import ImageLimits
from service.imaging.decode import decode_image

KINDS: tuple[tuple[str, str, str, Mapping[str, Any]], ...] = (
    ("jpeg, quality 90", "JPEG", "RGB", {"quality": 90}),
    ("jpeg, progressive", "JPEG", "RGB", {"quality": 90, "progressive": True}),
    ("png, RGB", "PNG", "RGB", {}),
    ("png, RGBA", "PNG", "RGBA", {}),
    ("png, grey", "PNG", "L", {}),
    ("webp, lossy", "WEBP", "RGB", {}),
    ("tiff, plain", "TIFF", "RGB", {}),
    ("tiff, LZW", "TIFF", "RGB", {"compression": "tiff_lzw"}),
    ("tiff, 16 bits", "TIFF", "I;16", {}),
    ("bmp", "BMP", "RGB", {}),
)


def scene(side: int) -> npt.NDArray[np.uint8]:
    """Draw bright blurred discs on a dark, noisy ground."""
    rng = np.random.default_rng(0)
    ground = rng.normal(20, 4, (side, side)).astype(np.float32)
    spots = np.zeros_like(ground)
    for x, y in rng.integers(0, side, (side, 2)).tolist():
        cv2.circle(spots, (x, y), 9, float(rng.uniform(60, 200)), -1)
    grey = np.clip(ground + cv2.GaussianBlur(spots, (9, 9), 2), 0, 255).astype(np.uint8)
    return np.stack([grey // 3, grey, grey // 2], axis=-1)


def encoded(
    pixels: npt.NDArray[np.uint8], form: str, mode: str, options: Mapping[str, Any]
) -> bytes:
    """Write the scene in one of `KINDS`."""
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 1].astype(np.uint16) * 16)
    else:
        image = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_pillow(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode as most services do."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":
        return np.asarray(image)
    return np.asarray(image.convert("RGB"))


def quickest_ms(turns: list[Callable[[], object]], repeats: int) -> list[float]:
    """Time several functions turn about, so that what else the machine does meets all alike."""
    taken: list[list[float]] = [[] for _ in turns]
    for _ in range(repeats):
        for times, turn in zip(taken, turns, strict=True):
            began = time.perf_counter()
            turn()
            times.append((time.perf_counter() - began) * 1e3)
    return [min(times) for times in taken]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    print(
        "| file | side | KiB | ours, ms | Pillow, ms | OpenCV ms | Pillow / ours | ours / OpenCV |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for side in options.sides:
        pixels = scene(side)
        for name, form, mode, settings in KINDS:
            data = encoded(pixels, form, mode, settings)
            raw = np.frombuffer(data, np.uint8)
            ours, pillow, opencv = quickest_ms(
                [
                    partial(decode_image, data, ImageLimits()),
                    partial(with_pillow, data),
                    partial(cv2.imdecode, raw, cv2.IMREAD_UNCHANGED),
                ],
                options.repeats,
            )
            print(
                f"| {name} | {side} | {len(data) / 1024:.0f} | {ours:.2f} | {pillow:.2f} "
                f"| {opencv:.2f} | {pillow / ours:.2f} | {ours / opencv:.2f} |"
            )


if __name__ == "__main__":
    main()
