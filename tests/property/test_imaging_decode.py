"""Whatever the bytes: an image, or one of three errors."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain import ImageLimits
from service.imaging.decode import decode_image
from tests.fuzz.fuzz_decode import outcome
from tests.fuzz.hostile import mutate, seeds
from tests.image_files import encode, noise, picture, pillow_says, png

FILES = seeds()
OUTCOMES = {"BadParameter", "decoded", "BrokenImage", "TooLarge", "UnsupportedFormat"}
KINDS = st.sampled_from(
    [
        ("PNG", ("1", "L", "LA", "RGB", "RGBA", "P", "P+t", "P+tt")),
        ("JPEG", ("L", "RGB", "CMYK")),
        ("WEBP", ("RGB", "RGBA")),
        ("TIFF", ("1", "L", "LA", "RGB", "RGBA", "P", "CMYK")),
    ]
).flatmap(lambda kind: st.tuples(st.just(kind[0]), st.sampled_from(kind[1])))

# Pillow warns of damaged directories before it raises, or goes on; neither stops a request.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@settings(deadline=None)
@given(
    kind=KINDS,
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    orientation=st.none() | st.integers(1, 8),
    seed=st.integers(0, 99),
)
def test_every_picture_decodes_as_pillow_decodes_it(
    kind: tuple[str, str], width: int, height: int, orientation: int | None, seed: int
) -> None:
    image = picture(kind[1], width, height, seed=seed)
    data = encode(image, kind[0], orientation=orientation)
    np.testing.assert_array_equal(decode_image(data, ImageLimits()).pixels, pillow_says(data))


@settings(deadline=None)
@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    scale=st.integers(1, 200),
    offset=st.integers(0, 1000),
)
def test_gain_and_offset_of_a_16_bit_camera_do_not_change_the_picture(
    width: int, height: int, channels: int, scale: int, offset: int
) -> None:
    values = noise(height, width, channels).astype(np.uint16)
    plain = decode_image(png(values), ImageLimits()).pixels
    other = decode_image(png(values * np.uint16(scale) + np.uint16(offset)), ImageLimits()).pixels
    np.testing.assert_array_equal(plain, other)


@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_have_a_known_outcome(data: bytes) -> None:
    assert outcome(data) in OUTCOMES


@settings(deadline=None)
@given(head=st.sampled_from(FILES), cut=st.integers(0, 40), tail=st.binary(max_size=200))
def test_any_bytes_after_a_true_beginning_have_a_known_outcome(
    head: bytes, cut: int, tail: bytes
) -> None:
    assert outcome(head[:cut] + tail) in OUTCOMES


@pytest.mark.parametrize("shard", range(10))
def test_damaged_files_have_a_known_outcome(shard: int) -> None:
    rng = random.Random(shard)  # noqa: S311 - repeatable
    assert {outcome(mutate(rng, FILES)) for _ in range(300)} <= OUTCOMES
