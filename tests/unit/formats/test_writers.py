"""Every answer format, read back by the tool that it is for, gives the labels back."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import roifile
import tifffile
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from shapely import contains_xy
from shapely.geometry import shape

from service.api.formats import WRITERS
from service.api.schemas import Format
from service.backends.base import Model
from service.domain import Category, Deadline, DecodedImage, Prediction
from service.masks.rle import describe_labels
from service.postprocess.segmentation import Segmentation
from service.recipe import Recipe
from service.request import Asked, Result, ScaledImage
from tests.scenes import draw_scene

# pycocotools 2.0.11 speaks to NumPy 2 in the way of NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DISC = Category(7, "disc")
RECIPE = Recipe(method="discriminative", embedding_size=3, classes=(DISC,), size_multiple=8)


def _result_of(image: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32]) -> Result:
    height, width = labels.shape
    regions = describe_labels(labels)
    count = len(regions.rles)
    scores = 1 - np.arange(1, count + 1) / 100
    classes = np.zeros(count, np.int64)
    padded = np.zeros((4, height + 3, width + 5), np.float16)
    padded[:3, :height, :width] = image.transpose(2, 0, 1) / 64
    padded[3, :height, :width] = np.where(labels, 3, -3)
    return Result(
        asked=Asked(request_id="r", deadline=Deadline.after(60), model="m", image_id=42),
        scaled=ScaledImage(
            Model("m", "1", RECIPE),
            DecodedImage(image, "png"),
            scale=1.0,
            pixels=image,
            prediction=Prediction(padded[:3], padded[3:]),
        ),
        segmentation=Segmentation(labels, np.arange(count), regions, scores, classes, (DISC,)),
    )


@pytest.fixture(params=range(5))
def result(request: pytest.FixtureRequest) -> Result:
    """Scenes of discs, some with a hole, some in several parts."""
    return _result_of(*draw_scene(request.param, height=61, width=83, count=12))


@pytest.fixture
def nothing() -> Result:
    return _result_of(np.zeros((5, 4, 3), np.uint8), np.zeros((5, 4), np.int32))


def _json(result: Result, wanted: Format) -> Any:
    return json.loads(WRITERS[wanted].render(result))


def _painted(masks: list[npt.NDArray[np.bool_]], size: tuple[int, ...]) -> npt.NDArray[np.int32]:
    labels = np.zeros(size, np.int32)
    for number, mask in enumerate(masks, start=1):
        labels[mask] = number
    return labels


def _drawn(outline: Any, size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return np.asarray(contains_xy(shape(outline), x, y))


@pytest.mark.parametrize("wanted", [Format.RLE, Format.RLE_UNCOMPRESSED])
def test_run_lengths_are_read_by_pycocotools(result: Result, wanted: Format) -> None:
    size = result.segmentation.labels.shape
    found = [item["segmentation"] for item in _json(result, wanted)]
    compressed = [
        coco_mask.frPyObjects(rle, *size) if isinstance(rle["counts"], list) else rle
        for rle in found
    ]
    masks = [coco_mask.decode(rle).astype(bool) for rle in compressed]
    assert np.array_equal(_painted(masks, size), result.segmentation.labels)


def test_polygons_are_valid_for_shapely_and_cover_the_same_pixels(result: Result) -> None:
    size = result.segmentation.labels.shape
    items = _json(result, Format.POLYGONS)
    assert {item["segmentation"]["type"] for item in items} == {"MultiPolygon"}
    assert all(shape(item["segmentation"]).is_valid for item in items)
    assert [shape(item["segmentation"]).area for item in items] == [item["area"] for item in items]
    masks = [_drawn(item["segmentation"], size) for item in items]
    assert np.array_equal(_painted(masks, size), result.segmentation.labels)


def _truth_of(result: Result) -> COCO:
    height, width = result.segmentation.labels.shape
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 42, "height": height, "width": width}],
        "categories": [{"id": 7, "name": "disc"}],
        "annotations": [
            {
                "id": instance.id,
                "image_id": 42,
                "category_id": 7,
                "segmentation": instance.rle,
                "bbox": list(instance.bbox_xywh),
                "area": instance.area_px,
                "iscrowd": 0,
            }
            for instance in result.segmentation.instances
        ],
    }
    truth.createIndex()
    return truth


@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_coco_results_drop_into_cocoeval(
    result: Result, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = _truth_of(result)
    evaluation = COCOeval(truth, truth.loadRes(_json(result, Format.COCO)), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_coco_results_have_every_member_and_the_callers_image_id(result: Result) -> None:
    items = _json(result, Format.COCO)
    members = {"image_id", "category_id", "segmentation", "bbox", "area", "score", "iscrowd"}
    assert {frozenset(item) for item in items} == {frozenset(members)}
    assert {item["image_id"] for item in items} == {42}


def test_the_label_image_is_the_same_to_pillow_and_to_a_tiff_writer(result: Result) -> None:
    with Image.open(io.BytesIO(WRITERS[Format.LABEL_PNG].render(result))) as picture:
        assert picture.mode.startswith("I;16")
        pixels = np.array(picture)
    assert np.array_equal(pixels, result.segmentation.labels)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels)
    file.seek(0)
    assert np.array_equal(tifffile.imread(file), result.segmentation.labels)


def _regions_in(path: Path) -> list[Any]:
    regions = roifile.roiread(path)
    assert isinstance(regions, list)
    return regions


def test_imagej_regions_cover_the_same_pixels(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "regions.zip"
    path.write_bytes(WRITERS[Format.IMAGEJ_ZIP].render(result))
    regions = _regions_in(path)
    size = result.segmentation.labels.shape
    assert [region.name for region in regions] == [
        f"{number:05d}-disc" for number in range(1, len(regions) + 1)
    ]
    masks = [_even_odd(region.coordinates(multi=True), size) for region in regions]
    assert np.array_equal(_painted(masks, size), result.segmentation.labels)


def _even_odd(rings: list[Any], size: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Fill rings as ImageJ does: a pixel is inside when an odd number of them contains it."""
    inside = [_drawn({"type": "Polygon", "coordinates": [ring.tolist()]}, size) for ring in rings]
    return np.asarray(np.logical_xor.reduce(inside))


def test_a_region_too_far_out_for_short_integers_is_written_with_floats(tmp_path: Path) -> None:
    labels = np.zeros((2, 32_768), np.int32)
    labels[1, 32_700:] = 1
    pixels = np.zeros((*labels.shape, 3), np.uint8)
    path = tmp_path / "far.zip"
    path.write_bytes(WRITERS[Format.IMAGEJ_ZIP].render(_result_of(pixels, labels)))
    (region,) = _regions_in(path)
    (ring,) = region.coordinates(multi=True)
    assert (ring.min(axis=0).tolist(), ring.max(axis=0).tolist()) == ([32_700, 1], [32_768, 2])


@pytest.mark.parametrize(
    "wanted",
    [Format.OVERLAY_PNG, Format.EMBEDDING_PNG, Format.FOREGROUND_PNG, Format.INPUT_PNG],
)
def test_pictures_have_the_size_of_the_image(result: Result, wanted: Format) -> None:
    with Image.open(io.BytesIO(WRITERS[wanted].render(result))) as picture:
        assert picture.size == (result.image.width, result.image.height)


def test_the_foreground_picture_is_the_probability(result: Result) -> None:
    with Image.open(io.BytesIO(WRITERS[Format.FOREGROUND_PNG].render(result))) as picture:
        pixels = np.array(picture)
    high, low = round(255 / (1 + np.exp(-3))), round(255 / (1 + np.exp(3)))
    assert np.array_equal(pixels, np.where(result.segmentation.labels, high, low))


def test_the_input_picture_is_the_image(result: Result) -> None:
    with Image.open(io.BytesIO(WRITERS[Format.INPUT_PNG].render(result))) as picture:
        assert np.array_equal(np.array(picture), result.image.pixels)


def test_an_embedding_at_a_stride_gives_a_picture_at_that_stride(result: Result) -> None:
    recipe = replace(RECIPE, stride=2)
    halved = replace(result, scaled=replace(result.scaled, model=Model("m", "1", recipe)))
    with Image.open(io.BytesIO(WRITERS[Format.EMBEDDING_PNG].render(halved))) as picture:
        assert picture.size == (42, 31)


@pytest.mark.parametrize("wanted", list(Format))
def test_an_image_without_instances_can_be_written_in_every_format(
    nothing: Result, wanted: Format
) -> None:
    assert WRITERS[wanted].render(nothing)


@pytest.mark.parametrize("wanted", list(Format))
def test_the_same_result_gives_the_same_bytes(result: Result, wanted: Format) -> None:
    assert WRITERS[wanted].render(result) == WRITERS[wanted].render(result)
