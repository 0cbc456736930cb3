from __future__ import annotations

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from service.masks.label_png import label_png
from service.masks.overlay import colours, embedding_picture, embedding_png, overlay, overlay_png
from tests.strategies import LabelImage, label_images


def read(data: bytes) -> npt.NDArray[np.integer[Any]]:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


@given(label_images())
def test_a_label_png_reads_back_as_the_labels(labels: LabelImage) -> None:
    pixels = read(label_png(labels))
    assert pixels.dtype == np.uint16
    assert np.array_equal(pixels, labels)


def test_the_largest_label_fits() -> None:
    assert read(label_png(np.array([[0, 65_535]]))).tolist() == [[0, 65_535]]


@pytest.mark.parametrize("label", [-1, 65_536])
def test_a_label_beyond_16_bits_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match="16-bit PNG"):
        label_png(np.array([[0, label]]))


def test_an_empty_label_image_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        label_png(np.zeros((0, 3), np.int32))


def test_an_overlay_leaves_the_background_alone() -> None:
    pixels = np.full((9, 9, 3), 77, np.uint8)
    labels = np.zeros((9, 9), np.int32)
    labels[2:7, 2:7] = 1
    drawn = overlay(pixels, labels)
    assert (drawn[labels == 0] == 77).all()
    assert (drawn[2, 2:7] == colours(1)[1]).all()
    assert (drawn[4, 4] != colours(1)[1]).any()
    assert (pixels == 77).all()


def test_an_overlay_png_holds_red_green_blue() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, :, 0] = 200
    assert read(overlay_png(pixels, np.zeros((4, 4), np.int32)))[0, 0].tolist() == [0, 0, 200]


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        overlay(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.int32))


def test_neighbouring_labels_have_colours_far_apart() -> None:
    table = colours(500).astype(float)
    gaps = [float(np.abs(a - b).sum()) for a, b in pairwise(table[1:])]
    assert min(gaps) > 120
    assert np.array_equal(colours(7), colours(500)[:8])


def test_two_groups_of_vectors_have_two_colours() -> None:
    embedding = np.zeros((8, 6, 6), np.float16)
    embedding[3, :, 3:] = 4.0
    picture = embedding_picture(embedding)
    assert np.unique(picture[:, :3].reshape(-1, 3), axis=0).shape[0] == 1
    assert np.abs(picture[0, 0].astype(int) - picture[0, 5]).max() > 200


def test_vectors_that_are_not_finite_are_black() -> None:
    embedding = np.random.default_rng(0).normal(size=(4, 5, 5)).astype(np.float32)
    embedding[0, 1, 1] = np.nan
    embedding[2, 2, 2] = np.inf
    picture = embedding_picture(embedding)
    assert picture[1, 1].tolist() == [0, 0, 0]
    assert picture[2, 2].tolist() == [0, 0, 0]


def test_an_embedding_without_any_finite_vector_is_black() -> None:
    assert not embedding_picture(np.full((3, 4, 4), np.nan, np.float32)).any()


@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_an_embedding_png_reads_back(size: int) -> None:
    embedding = np.random.default_rng(1).normal(size=(size, 7, 9)).astype(np.float16)
    pixels = read(embedding_png(embedding))
    assert np.array_equal(pixels[:, :, ::-1], embedding_picture(embedding))
