"""Many images in one request: each answered or explained, as they finish."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pytest

from service.api import stacks
from service.imaging.stack import Stack
from tests.image_files import book, leading_to
from tests.scenes import draw_scene, png_of, running_server, stack_of, write_scenes_model

SCENES = {f"{seed}.png": draw_scene(seed) for seed in range(5)}
COUNTS = {name: int(labels.max()) for name, (_, labels) in SCENES.items()}
PICTURES = {name: png_of(image) for name, (image, _) in SCENES.items()}
AS_PNG, AS_ZIP = {"Content-Type": "image/png"}, {"Content-Type": "application/zip"}
FORM = [("image", (name, data, "image/png")) for name, data in PICTURES.items()]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    with (
        running_server(repository, max_in_flight=2, max_queue=0, max_job_images=8) as address,
        httpx2.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def _lines(response: httpx2.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


def _zip_of(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def _counts(lines: list[dict[str, Any]]) -> dict[str, int]:
    return {line["name"]: len(line["answer"]["instances"]) for line in lines if "answer" in line}


def test_every_file_of_a_form_is_answered(http: httpx2.Client) -> None:
    *lines, end = _lines(http.post("/segment/batch", files=FORM))
    assert _counts(lines) == COUNTS
    assert sorted(line["index"] for line in lines) == [0, 1, 2, 3, 4]
    assert end == {"images": 5, "failed": 0}


def test_every_file_of_an_archive_is_answered(http: httpx2.Client) -> None:
    *lines, end = _lines(http.post("/segment/batch", content=_zip_of(PICTURES), headers=AS_ZIP))
    assert _counts(lines) == COUNTS
    assert end == {"images": 5, "failed": 0}


def test_an_image_that_fails_is_explained_and_the_others_are_answered(http: httpx2.Client) -> None:
    form = [*FORM, ("image", ("notes.png", b"nothing", "image/png"))]
    *lines, end = _lines(http.post("/segment/batch", files=form))
    problems = {line["name"]: line["problem"]["code"] for line in lines if "problem" in line}
    assert problems == {"notes.png": "unsupported-format"}
    assert _counts(lines) == COUNTS
    assert end == {"images": 6, "failed": 1}


def test_events_carry_the_same_lines(http: httpx2.Client) -> None:
    headers = {"Accept": "text/event-stream"}
    response = http.post("/segment/batch", files=FORM[:2], headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [event.splitlines() for event in response.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: image", "event: image", "event: end"]
    assert json.loads(events[-1][1].removeprefix("data: ")) == {"images": 2, "failed": 0}


def test_parameters_hold_for_every_image(http: httpx2.Client) -> None:
    *lines, _ = _lines(http.post("/segment/batch?format=coco&max_instances=1", files=FORM))
    assert [len(line["answer"]) for line in lines] == [1] * 5


def test_a_page_and_a_scale_that_is_to_be_found_hold_for_every_image(http: httpx2.Client) -> None:
    small = np.zeros((8, 8, 3), np.uint8)
    form = [
        ("image", (name, stack_of(small, image), "image/tiff"))
        for name, (image, _) in SCENES.items()
    ]
    response = http.post("/segment/batch?page=1&scale=auto", files=form)
    assert _counts(_lines(response)) == COUNTS


def test_every_page_of_a_stack_is_answered_as_an_image_of_its_own(http: httpx2.Client) -> None:
    scenes = [draw_scene(seed) for seed in range(5)]
    movie = book(*(image for image, _ in scenes))
    form = [("image", ("movie.tif", movie, "image/tiff")), FORM[1]]
    *lines, end = _lines(http.post("/segment/batch?page=all", files=form))
    pages = {f"movie.tif/{page}": int(labels.max()) for page, (_, labels) in enumerate(scenes)}
    assert _counts(lines) == {**pages, "1.png/0": COUNTS["1.png"]}
    assert end == {"images": 6, "failed": 0}
    places = {line["name"]: line["answer"]["image"] for line in lines}
    assert [places[name]["page"] for name in pages] == [0, 1, 2, 3, 4]
    assert [places[name]["frames"] for name in pages] == [5] * 5
    for line in lines[:2]:
        page = line["answer"]["image"]["page"]
        alone = http.post(f"/segment?page={page}", content=movie, headers=AS_PNG).json()
        assert alone["image"] == line["answer"]["image"]
        assert alone["instances"] == line["answer"]["instances"]


def test_a_damaged_page_is_explained_and_the_others_are_answered(http: httpx2.Client) -> None:
    movie = leading_to(book(*(image for image, _ in SCENES.values())), 2, 10**9)
    body = _zip_of({"movie.tif": movie})
    *lines, end = _lines(http.post("/segment/batch?page=all", content=body, headers=AS_ZIP))
    problems = {line["name"]: line["problem"]["code"] for line in lines if "problem" in line}
    assert problems == {"movie.tif/3": "broken-image"}
    assert end == {"images": 4, "failed": 1}


def test_pages_count_as_images_before_any_is_decoded(http: httpx2.Client) -> None:
    form = [("image", ("movie.tif", book(*[np.zeros((1, 1), np.uint8)] * 9), "image/tiff"))]
    response = http.post("/segment/batch?page=all", files=form)
    assert response.status_code == 413
    assert response.json()["limit"] == 8
    assert response.json()["detail"] == "the files have more than 8 pages together"


def test_files_beyond_the_last_page_that_there_may_be_are_not_opened(
    http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    class Counted(Stack):
        def __init__(self, data: bytes) -> None:
            super().__init__(data)
            opened.append(len(self))

    monkeypatch.setattr(stacks, "Stack", Counted)
    movie = book(*[np.zeros((1, 1), np.uint8)] * 5)
    form = [("image", (f"{number}.tif", movie, "image/tiff")) for number in range(4)]
    assert http.post("/segment/batch?page=all", files=form).status_code == 413
    assert opened == [5, 5]


def test_answers_come_before_the_last_image_is_done(http: httpx2.Client) -> None:
    with http.stream("POST", "/segment/batch", files=FORM) as response:
        first = next(response.iter_lines())
    assert "answer" in json.loads(first)
    *lines, _ = _lines(http.post("/segment/batch", files=FORM))  # the one cut off left no trace
    assert _counts(lines) == COUNTS


@pytest.mark.parametrize(
    ("query", "body", "code"),
    [
        ("?format=label_png", {"files": FORM}, "bad-parameter"),
        ("?keep=true", {"files": FORM}, "bad-parameter"),
        ("?embedding=" + "A" * 22, {"files": FORM}, "bad-parameter"),
        ("?model=none", {"files": FORM}, "model-not-found"),
        ("?version=7", {"files": FORM}, "model-not-found"),
        ("", {"content": b"x", "headers": AS_PNG}, "unsupported-format"),
        ("", {"content": b"x", "headers": AS_ZIP}, "malformed-request"),
        ("", {"files": FORM + FORM}, "malformed-request"),
    ],
    ids=[
        *("picture format", "keep", "embedding", "no such model", "no such version"),
        *("not a batch", "no archive", "too many"),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_refused_before_any_answer(
    http: httpx2.Client, query: str, body: dict[str, Any], code: str
) -> None:
    response = http.post(f"/segment/batch{query}", **body)
    assert response.status_code in {400, 404, 415, 422}
    assert response.json()["code"] == code
