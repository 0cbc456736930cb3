from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from service.masks.rle import decode, describe_labels, encode_labels, to_uncompressed
from tests.strategies import LabelImage, label_images


def reference(labels: LabelImage) -> list[dict[str, Any]]:
    """Encode one mask at a time, as pycocotools does."""
    encoded = []
    for k in range(1, int(labels.max(initial=0)) + 1):
        rle = coco.encode(np.asfortranarray(labels == k, dtype=np.uint8))
        encoded.append({"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")})
    return encoded


@given(label_images())
def test_strings_equal_those_of_pycocotools(labels: LabelImage) -> None:
    assert encode_labels(labels) == reference(labels)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((3, 5), np.int32),
        np.ones((4, 3), np.int32),
        np.ones((1, 1), np.int32),
        np.indices((65, 66)).sum(axis=0) % 2 + 1,
        np.tile([[0, 1]], (2000, 70)),
        np.arange(1, 9 * 130 + 1).reshape(9, 130),
        np.kron(np.eye(2, dtype=int), np.ones((1500, 900), dtype=int)),
        np.array([[0, 3], [3, 0]]),
        np.random.default_rng(0).integers(0, 3, (9, 400)),
    ],
    ids=[
        "none",
        "all",
        "pixel",
        "checks",
        "stripes",
        "singles",
        "long runs",
        "missing labels",
        "noise",
    ],
)
def test_extreme_masks_equal_those_of_pycocotools(labels: LabelImage) -> None:
    assert encode_labels(labels) == reference(labels)


@given(label_images())
def test_areas_and_boxes_equal_those_of_pycocotools(labels: LabelImage) -> None:
    regions = describe_labels(labels)
    encoded = [{**rle, "counts": rle["counts"].encode()} for rle in reference(labels)]
    assert regions.areas_px.tolist() == [int(coco.area(rle)) for rle in encoded]
    assert regions.boxes_xywh.tolist() == [coco.toBbox(rle).tolist() for rle in encoded]


@given(label_images())
def test_centroids_are_mean_pixel_positions(labels: LabelImage) -> None:
    places = [np.argwhere(labels == k)[:, ::-1] for k in range(1, int(labels.max(initial=0)) + 1)]
    expected = [place.mean(axis=0) for place in places]
    np.testing.assert_allclose(
        describe_labels(labels).centroids_xy, np.reshape(expected, (-1, 2)), atol=1e-9
    )


@given(label_images())
def test_decoding_gives_the_masks_back(labels: LabelImage) -> None:
    masks = [decode(rle) for rle in encode_labels(labels)]
    expected = [labels == k for k in range(1, int(labels.max(initial=0)) + 1)]
    assert [mask.tolist() for mask in masks] == [mask.tolist() for mask in expected]


@given(label_images())
def test_plain_lists_and_bytes_decode_as_strings_do(labels: LabelImage) -> None:
    for rle in encode_labels(labels):
        mask = decode(rle)
        assert np.array_equal(decode(to_uncompressed(rle)), mask)
        assert np.array_equal(decode({**rle, "counts": rle["counts"].encode()}), mask)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_has_no_instances(shape: tuple[int, int]) -> None:
    assert encode_labels(np.zeros(shape, np.int32)) == []


def test_a_mask_without_pixels_decodes() -> None:
    assert decode({"size": [0, 4], "counts": [0]}).shape == (0, 4)


def test_labels_of_a_crop_are_read_in_place() -> None:
    labels = np.arange(48, dtype=np.int32).reshape(6, 8) % 5
    crop = labels[1:5, 2:7]
    assert encode_labels(crop) == reference(np.ascontiguousarray(crop))


@pytest.mark.parametrize("labels", [[[-1, 0]], [[0, 3]]], ids=["negative", "above the pixels"])
def test_labels_that_cannot_be_are_refused(labels: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="between 0 and the number of pixels"):
        encode_labels(np.array(labels))


def test_a_stack_of_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="two axes, not 3"):
        encode_labels(np.zeros((2, 2, 2), np.int32))


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 2], "counts": "32"}, "add up to 5"),
        ({"size": [2, 2], "counts": ""}, "add up to 0"),
        ({"size": [2, 2], "counts": "P"}, "no run lengths"),
        ({"size": [2, 2], "counts": "1~1"}, "no run lengths"),
        ({"size": [2, 2], "counts": "4é"}, "ASCII"),
        ({"size": [2, 2], "counts": "o" * 40}, "no run lengths"),
        ({"size": [2, 2], "counts": "O4"}, "no run lengths"),
        ({"size": [2, 2], "counts": [-1, 5]}, "no run lengths"),
        ({"size": [2, 2], "counts": [4.0]}, "no run lengths"),
        ({"size": [2, 2], "counts": [True, 3]}, "no run lengths"),
        ({"size": [2, 2], "counts": [2**80]}, "no run lengths"),
        ({"size": [2, 2], "counts": 4}, "no run lengths"),
        ({"size": [2, 2]}, "no run lengths"),
        ({"size": [2], "counts": "4"}, "size"),
        ({"size": [2, -2], "counts": "4"}, "size"),
        ({"size": "22", "counts": "4"}, "size"),
        ({"counts": "4"}, "size"),
        ({"size": [2**20, 2**20], "counts": "4"}, "exceeds"),
        ({"size": [2**14, 2**14 - 1], "counts": "4"}, "add up to 4"),
    ],
)
def test_hostile_run_lengths_are_refused(rle: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(rle)


@given(st.binary(max_size=40), st.integers(0, 8), st.integers(0, 8))
def test_any_bytes_give_a_mask_or_an_error(counts: bytes, height: int, width: int) -> None:
    with suppress(ValueError):
        assert decode({"size": [height, width], "counts": counts}).shape == (height, width)
