from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given

from service.masks.polygon import MultiPolygon, polygons_of_labels
from tests.strategies import LabelImage, label_images


def as_shape(outline: MultiPolygon) -> shapely.MultiPolygon:
    return shapely.MultiPolygon([(polygon[0], polygon[1:]) for polygon in outline])


@given(label_images(longest=16))
def test_drawing_an_outline_at_pixel_centres_gives_the_mask_back(labels: LabelImage) -> None:
    y, x = np.indices(labels.shape) + 0.5
    drawn = np.zeros_like(labels)
    for k, outline in enumerate(polygons_of_labels(labels), start=1):
        drawn[shapely.contains_xy(as_shape(outline), x, y)] += k
    assert np.array_equal(drawn, labels)


@given(label_images(longest=16))
def test_outlines_are_valid_and_as_large_as_their_masks(labels: LabelImage) -> None:
    shapes = [as_shape(outline) for outline in polygons_of_labels(labels)]
    areas = np.bincount(labels.ravel())[1:]
    assert [shapely.is_valid_reason(shape) for shape in shapes] == ["Valid Geometry"] * len(areas)
    assert [shape.area for shape in shapes] == areas.tolist()


def test_a_ring_has_a_hole() -> None:
    [[[shell, hole]]] = polygons_of_labels(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]]))
    assert shapely.Polygon(shell).equals(shapely.box(0, 0, 3, 3))
    assert shapely.Polygon(hole).equals(shapely.box(1, 1, 2, 2))


def test_parts_that_touch_at_a_corner_are_separate_polygons() -> None:
    [outline] = polygons_of_labels(np.array([[1, 0], [0, 1]]))
    assert len(outline) == 2


def test_an_image_without_instances_has_no_outlines() -> None:
    assert polygons_of_labels(np.zeros((4, 4), np.int32)) == []


def test_a_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="two axes, not 3"):
        polygons_of_labels(np.zeros((1, 2, 2), np.int32))
