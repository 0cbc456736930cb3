"""Labelling tools get what they publish that they read, and find the pixels that were drawn."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import pytest

from service.app import create_app
from service.errors import SettingsError
from service.settings import Settings
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
        ({"image": 3}, 400),
        ({"image": "no base64!"}, 400),
        ({"image": "kein Bäse64"}, 400),
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


class LabelStudio(BaseHTTPRequestHandler):
    """Serves what was uploaded to it, and its local files, to who shows its token."""

    def do_GET(self) -> None:
        served = self.path in {"/data/upload/1/discs.png", "/data/local-files/?d=discs.png"}
        known = self.headers["Authorization"] == "Token secret"
        self.send_response((200 if served else 404) if known else 401)
        self.end_headers()
        if served and known:
            self.wfile.write(base64.b64decode(PICTURE))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def label_studio() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), LabelStudio) as server:
        Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def connected(
    label_studio: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx2.Client]:
    folder = tmp_path_factory.mktemp("connected")
    write_scenes_model(folder / "repository")
    (folder / "token").write_text("secret\n")
    with (
        running_server(
            folder / "repository",
            adapters="label_studio",
            label_studio_url=label_studio,
            label_studio_token_file=folder / "token",
        ) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/data/upload/1/discs.png", "/data/local-files/?d=discs.png"])
@pytest.mark.parametrize("form", ["{path}", "{address}{path}"])
def test_what_lies_in_label_studio_is_fetched_with_its_token(
    connected: httpx2.Client, label_studio: str, path: str, form: str
) -> None:
    image = form.format(path=path, address=label_studio)
    (prediction,) = _predict(connected, tasks=[{"data": {"photo": image}}]).json()["results"]
    assert len(prediction["result"]) == COUNT


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("/data/upload/1/gone.png", "status 404"),
        ("http://127.0.0.1:1/data/upload/1/discs.png", "DISCERN_URL_HOSTS"),
        ("s3://bucket/discs.png", "DISCERN_URL_HOSTS"),
        ("discs.png", "DISCERN_URL_HOSTS"),
    ],
)
def test_an_image_that_lies_elsewhere_is_refused_with_the_remedy(
    connected: httpx2.Client, image: str, told: str
) -> None:
    refused = _predict(connected, tasks=[{"data": {"photo": image}}])
    assert (refused.status_code, refused.json()["code"]) == (422, "image-not-fetched")
    assert told in refused.json()["detail"]


def test_an_image_in_label_studio_needs_to_know_where_that_is(http: httpx2.Client) -> None:
    refused = _predict(http, tasks=[{"data": {"photo": "/data/upload/1/discs.png"}}])
    assert (refused.status_code, refused.json()["code"]) == (422, "image-not-fetched")
    assert "DISCERN_LABEL_STUDIO_URL" in refused.json()["detail"]


def test_an_image_on_a_host_that_is_allowed_is_fetched_without_the_token(
    label_studio: str, tmp_path: Path
) -> None:
    write_scenes_model(tmp_path)
    given = {"url_hosts": label_studio, "url_private": True}
    with (
        running_server(tmp_path, adapters="label_studio", **given) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        image = f"{label_studio}/data/upload/1/discs.png"
        refused = _predict(client, tasks=[{"data": {"photo": image}}])
    assert "status 401" in refused.json()["detail"]


def test_a_token_that_cannot_be_read_keeps_the_server_from_starting(tmp_path: Path) -> None:
    given = Settings(adapters="label_studio", label_studio_token_file=tmp_path / "nothing")
    with pytest.raises(SettingsError, match="token"):
        create_app(given)


def test_objects_of_another_size_are_found_at_a_scale(http: httpx2.Client) -> None:
    twice = base64.b64encode(png_of(IMAGE.repeat(2, 0).repeat(2, 1))).decode()
    tasks = [{"data": {"photo": f"data:image/png;base64,{twice}"}}]
    for scale in (0.5, "auto"):
        (prediction,) = _predict(http, tasks=tasks, params={"scale": scale}).json()["results"]
        assert len(prediction["result"]) == COUNT


def test_a_channel_of_the_image_is_segmented(http: httpx2.Client) -> None:
    blue = np.zeros_like(IMAGE)
    blue[..., 2] = (LABELS > 0) * 50  # too dim in one channel of three
    encoded = base64.b64encode(png_of(blue)).decode()
    tasks = [{"data": {"photo": f"data:image/png;base64,{encoded}"}}]
    (without,) = _predict(http, tasks=tasks).json()["results"]
    (found,) = _predict(http, tasks=tasks, params={"channel": 2}).json()["results"]
    assert not without["result"]
    assert found["result"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label_config": "<View/>"}, 400),
        ({"label_config": "<View"}, 400),
        ({"label_config": CONFIG.replace("<Image", "<Video")}, 400),
        ({"label_config": CONFIG.replace('toName="picture"', 'toName="film"')}, 400),
        ({"label_config": "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>"}, 400),
        ({"tasks": [{"data": {"other": "x"}}]}, 400),
        ({"tasks": [{"data": {"photo": "data:image/png;base64,%"}}]}, 400),
        ({"tasks": [{"data": {"photo": "data:image/png;base64,ä"}}]}, 400),
        ({"tasks": [{"data": {"photo": f"data:image/png,{PICTURE}"}}]}, 400),
        ({"tasks": [{"data": {"photo": 1}}]}, 400),
        ({"params": {"model": "nobody"}}, 404),
        ({"params": {"scale": 0}}, 400),
        ({"params": {"scale": "large"}}, 400),
    ],
)
def test_label_studio_is_told_what_is_wrong(
    http: httpx2.Client, changes: dict[str, Any], status: int
) -> None:
    assert _predict(http, **changes).status_code == status
