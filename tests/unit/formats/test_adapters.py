"""Labelling tools get what they publish that they read, and find the pixels that were drawn."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest

from tests.scenes import draw_scene, png_of, running_server, write_scenes_model

IMAGE, LABELS = draw_scene(2)
COUNT = int(LABELS.max())
PICTURE = base64.b64encode(png_of(IMAGE)).decode()
CONFIG = """
<View>
  <Image name="picture" value="$photo"/>
  <BrushLabels name="tag" toName="picture"><Label value="Cell"/><Label value="Disc"/></BrushLabels>
</View>
"""


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    with (
        running_server(repository, adapters="cvat,label_studio") as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def _same(masks: list[npt.NDArray[np.bool_]]) -> bool:
    """Whether the masks are those of the scene, in any order."""
    drawn = {np.equal(LABELS, label).tobytes() for label in range(1, COUNT + 1)}
    return {mask.tobytes() for mask in masks} == drawn


def test_without_the_setting_the_tools_find_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    with running_server(repository) as address:
        assert httpx2.get(f"{address}/api/functions").status_code == 404
        assert httpx2.get(f"{address}/label-studio/health").status_code == 404


def test_cvat_lists_every_model_as_a_detector_of_masks(http: httpx2.Client) -> None:
    functions = http.get("/api/functions", headers={"x-nuclio-project-name": "cvat"}).json()
    assert list(functions) == ["scenes"]
    annotations = functions["scenes"]["metadata"]["annotations"]
    assert annotations["type"] == "detector"
    assert json.loads(annotations["spec"]) == [{"id": 1, "name": "disc", "type": "mask"}]
    assert functions["scenes"]["status"]["state"] == "ready"
    assert http.get("/api/functions/scenes").json() == functions["scenes"]


def _invoke(http: httpx2.Client, **body: Any) -> httpx2.Response:
    headers = {"x-nuclio-function-name": "scenes", "x-nuclio-path": "/"}
    return http.post("/api/function_invocations", json=body, headers=headers)


def _cvat_mask(values: list[int]) -> npt.NDArray[np.bool_]:
    left, top, right, bottom = values[-4:]
    mask = np.zeros(LABELS.shape, np.bool_)
    box = np.array(values[:-4], np.bool_).reshape(bottom - top + 1, right - left + 1)
    mask[top : bottom + 1, left : right + 1] = box
    return mask


def test_cvat_gets_the_masks(http: httpx2.Client) -> None:
    found = _invoke(http, image=PICTURE, threshold=0.2).json()
    assert {shape["label"] for shape in found} == {"disc"}
    assert {shape["type"] for shape in found} == {"mask"}
    assert all(0.2 <= float(shape["confidence"]) <= 1 for shape in found)
    assert all(len(shape["points"]) >= 8 and len(shape["points"]) % 2 == 0 for shape in found)
    assert _same([_cvat_mask(shape["mask"]) for shape in found])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"image": "no base64!"}, 400),
        ({"image": PICTURE, "threshold": 2}, 422),
        ({"image": base64.b64encode(b"nothing").decode()}, 415),
    ],
)
def test_cvat_is_told_what_is_wrong(http: httpx2.Client, body: dict[str, Any], status: int) -> None:
    assert _invoke(http, **body).status_code == status


def _unpack(packed: list[int]) -> npt.NDArray[np.uint8]:
    """Read Label Studio's brush runs bit by bit, as its own importer does."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    at = 0

    def read(size: int) -> int:
        nonlocal at
        at += size
        return int(bits[at - size : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        same = read(1)
        length = read(sizes[read(2)]) + 1
        values.extend([read(word)] * length if same else [read(word) for _ in range(length)])
    return np.array(values, np.uint8)


def _predict(http: httpx2.Client, **changes: Any) -> httpx2.Response:
    task = {"id": 1, "data": {"photo": f"data:image/png;base64,{PICTURE}"}}
    body = {"tasks": [task], "label_config": CONFIG, "project": "1.1", "params": {}, **changes}
    return http.post("/label-studio/predict", json=body)


def test_label_studio_gets_brush_masks_under_the_names_of_its_project(http: httpx2.Client) -> None:
    (prediction,) = _predict(http).json()["results"]
    regions = prediction["result"]
    assert prediction["model_version"] == "scenes/1"
    assert {region["type"] for region in regions} == {"brushlabels"}
    assert {(region["from_name"], region["to_name"]) for region in regions} == {("tag", "picture")}
    assert {tuple(region["value"]["brushlabels"]) for region in regions} == {("Disc",)}
    height, width = LABELS.shape
    assert {(region["original_height"], region["original_width"]) for region in regions} == {
        (height, width)
    }
    masks = [_unpack(region["value"]["rle"]).reshape(height, width, 4) for region in regions]
    assert _same([mask[:, :, 3] == 255 for mask in masks])


def test_label_studio_finds_the_server_well_and_learns_its_model(http: httpx2.Client) -> None:
    assert http.get("/label-studio/health").json()["status"] == "UP"
    assert http.post("/label-studio/setup", json={}).json() == {"model_version": "scenes/1"}
    assert http.post("/label-studio/webhook", json={}).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label_config": "<View/>"}, 400),
        ({"label_config": "<View"}, 400),
        ({"label_config": "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>"}, 400),
        ({"tasks": [{"data": {"other": "x"}}]}, 400),
        ({"tasks": [{"data": {"photo": "data:image/png;base64,%"}}]}, 400),
        ({"tasks": [{"data": {"photo": "http://127.0.0.1:1/x.png"}}]}, 422),
        ({"params": {"model": "nobody"}}, 404),
    ],
)
def test_label_studio_is_told_what_is_wrong(
    http: httpx2.Client, changes: dict[str, Any], status: int
) -> None:
    assert _predict(http, **changes).status_code == status
