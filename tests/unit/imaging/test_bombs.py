"""Files that claim far more than they hold cost next to nothing to refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.domain import ImageLimits
from service.errors import TooLarge
from service.imaging.decode import decode_image
from tests.bombs import harmless, refused
from tests.image_files import encode, noise, picture, png, tiff

Weights = dict[str, dict[str, str | float]]


@pytest.fixture(scope="module")
def weights() -> Weights:
    """Every file weighed, in a process of its own."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peak memory can be set back on Linux only")
    done = subprocess.run(
        [sys.executable, "-m", "tests.bombs"], capture_output=True, check=True, timeout=120
    )
    found: Weights = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", refused())
def test_a_bomb_is_refused_in_20_ms_and_5_mib(name: str, weights: Weights) -> None:
    assert weights[name]["outcome"] in ("TooLarge", "BrokenImage")
    assert float(weights[name]["ms"]) < 20
    assert float(weights[name]["extra_mib"]) < 5


@pytest.mark.parametrize("name", harmless())
def test_packed_ballast_around_a_small_picture_is_not_unpacked(name: str, weights: Weights) -> None:
    assert weights[name]["outcome"] == "decoded"
    assert float(weights[name]["ms"]) < 100
    assert float(weights[name]["extra_mib"]) < 5


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_the_limits_are_inclusive(form: str) -> None:
    data = encode(picture("RGB", 13, 7), form)
    exact = ImageLimits(max_bytes=len(data), max_pixels=13 * 7, max_side_px=13)
    assert decode_image(data, exact).width == 13


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize(
    ("limits", "limit", "words"),
    [
        (ImageLimits(max_pixels=90), 90, "13 x 7 pixels, at most 90"),
        (ImageLimits(max_side_px=12), 12, "a side may have at most 12"),
        (ImageLimits(max_bytes=40), 40, "at most 40 are allowed"),
    ],
    ids=["pixels", "side", "bytes"],
)
def test_the_error_names_the_limit(form: str, limits: ImageLimits, limit: int, words: str) -> None:
    with pytest.raises(TooLarge, match=words) as caught:
        decode_image(encode(picture("RGB", 13, 7), form), limits)
    assert caught.value.limit == limit


@pytest.mark.parametrize(
    "data",
    [png(noise(7, 13, 3, dtype="uint16")), tiff(noise(7, 13, dtype="float32"))],
    ids=["png", "tiff"],
)
def test_deep_files_keep_to_the_limits_too(data: bytes) -> None:
    with pytest.raises(TooLarge):
        decode_image(data, ImageLimits(max_pixels=90))
