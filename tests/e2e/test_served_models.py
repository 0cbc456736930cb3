"""The shipped models behind the real server: what a newcomer may expect of the first requests."""

from __future__ import annotations

import io

import cv2
import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from service.masks.rle import decode
from tests.live import ROOT, LiveGateway
from training.data.dataset import Sample
from training.data.synthetic import NucleiDataset, SticksDataset
from training.metrics.dice import symmetric_best_dice
from training.metrics.matching import match, overlap

EXAMPLES = sorted((ROOT / "examples").glob("*.png"))


def png(pixels: npt.NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def found_labels(gateway: LiveGateway, image: bytes, query: str = "") -> npt.NDArray[np.int32]:
    answer = gateway.segment(image, query).json()
    labels = np.zeros((answer["image"]["height"], answer["image"]["width"]), np.int32)
    for instance in answer["instances"]:
        labels[decode(instance["segmentation"])] = instance["id"]
    return labels


def pieces_of_cut_sticks(labels: npt.NDArray[np.int32]) -> list[list[npt.NDArray[np.bool_]]]:
    """Return, for every stick that another one cuts in two, its pieces of 60 pixels or more."""
    cut = []
    for stick in range(1, labels.max() + 1):
        count, parts = cv2.connectedComponents((labels == stick).astype(np.uint8), connectivity=8)
        pieces = [parts == part for part in range(1, count)]
        pieces = [piece for piece in pieces if piece.sum() >= 60]
        if len(pieces) > 1:
            cut.append(pieces)
    return cut


def prevailing(labels: npt.NDArray[np.int32], piece: npt.NDArray[np.bool_]) -> int:
    return int(np.bincount(labels[piece]).argmax())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_gets_instances_whose_facts_agree_with_their_masks(
    gateway: LiveGateway, path: object
) -> None:
    assert isinstance(path, type(ROOT))
    model = "sticks" if path.name.startswith("sticks") else "nuclei"
    answer = gateway.segment(path.read_bytes(), f"?model={model}").json()
    assert len(answer["instances"]) >= 3
    for instance in answer["instances"]:
        mask = decode(instance["segmentation"])
        rows, columns = np.nonzero(mask)
        x, y, width, height = instance["bbox"]
        assert instance["area"] == mask.sum()
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert instance["centroid"] == pytest.approx([columns.mean(), rows.mean()], abs=0.01)
    scores = [instance["score"] for instance in answer["instances"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("form", ["rle", "rle_uncompressed", "polygons", "coco"])
def test_every_answer_in_json_is_as_the_schema_says(gateway: LiveGateway, form: str) -> None:
    answer = gateway.segment(EXAMPLES[0].read_bytes(), f"?format={form}")
    schema = gateway.request("GET", "/openapi.json").json()
    said = schema["paths"]["/segment"]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema.validate(answer.json(), {**said["schema"], "components": schema["components"]})


def test_masks_of_one_answer_never_overlap(gateway: LiveGateway) -> None:
    answer = gateway.segment(EXAMPLES[0].read_bytes()).json()
    masks = [decode(instance["segmentation"]) for instance in answer["instances"]]
    assert np.sum(masks, axis=0).max() == 1


def test_the_same_image_gets_the_same_answer_byte_for_byte(gateway: LiveGateway) -> None:
    first, second = (gateway.segment(EXAMPLES[0].read_bytes()).body for _ in range(2))
    instances = b'"instances":', b'"timings_ms":'
    cut = [body[body.index(instances[0]) : body.index(instances[1])] for body in (first, second)]
    assert cut[0] == cut[1]


@pytest.mark.parametrize("index", range(4))
def test_freshly_drawn_nuclei_are_found(gateway: LiveGateway, index: int) -> None:
    sample: Sample = NucleiDataset(count=4, seed=77)[index]
    labels = found_labels(gateway, png(sample.image))
    assert match(overlap(sample.labels, labels), 0.5).f1 >= 0.75


def test_freshly_drawn_sticks_reach_the_dice_that_the_model_card_promises(
    gateway: LiveGateway,
) -> None:
    fresh = SticksDataset(count=12, seed=4711)
    scores = [
        symmetric_best_dice(
            overlap(sample.labels, found_labels(gateway, png(sample.image), "?model=sticks"))
        )
        for sample in (fresh[index] for index in range(len(fresh)))
    ]
    assert np.mean(scores) >= 0.9


def test_most_sticks_cut_in_two_by_another_keep_one_id(gateway: LiveGateway) -> None:
    fresh = SticksDataset(count=48, seed=815, min_objects=2, max_objects=6)
    kept = []
    for sample in (fresh[index] for index in range(len(fresh))):
        labels = found_labels(gateway, png(sample.image), "?model=sticks")
        for pieces in pieces_of_cut_sticks(sample.labels):
            ids = {prevailing(labels, piece) for piece in pieces}
            kept.append(len(ids) == 1 and 0 not in ids)
    assert len(kept) >= 20
    assert np.mean(kept) >= 0.8


def test_sixteen_bits_are_scaled_and_the_answer_says_so(gateway: LiveGateway) -> None:
    sample = NucleiDataset(count=1, seed=5)[0]
    deep = sample.image.astype(np.uint16) * 37 + 400
    answer = gateway.segment(png(deep)).json()
    assert answer["image"]["source_bits"] == 16
    low, high = answer["image"]["scaled_range"]
    assert 400 <= low < high <= 37 * 255 + 400
    plain = gateway.segment(png(sample.image)).json()
    assert len(answer["instances"]) == pytest.approx(len(plain["instances"]), abs=2)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "image/png", 400, "malformed-request"),
        (b"no image at all", "image/png", 415, "unsupported-format"),
        (b"x", "text/plain", 415, "unsupported-format"),
        (EXAMPLES[0].read_bytes()[:900], "image/png", 422, "broken-image"),
        (b"{}", "application/json", 400, "malformed-request"),
        (b"--x--", "multipart/form-data; boundary=x", 400, "malformed-request"),
    ],
)
def test_bad_input_gets_its_problem_and_the_next_request_works(
    gateway: LiveGateway, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = gateway.segment(body, kind=kind)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert gateway.segment(EXAMPLES[0].read_bytes()).status == 200


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1), np.uint8),
        np.full((1, 300), 200, np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.full((40, 50), 255, np.uint8),
    ],
    ids=["one pixel", "one row", "black", "white"],
)
def test_images_without_any_object_are_answered(
    gateway: LiveGateway, pixels: npt.NDArray[np.uint8]
) -> None:
    answer = gateway.segment(png(pixels))
    assert answer.status == 200
    height, width = pixels.shape[:2]
    assert answer.json()["image"] | {"height": height, "width": width} == answer.json()["image"]


def test_stage_timings_add_up_to_the_total(gateway: LiveGateway) -> None:
    spent = gateway.segment(EXAMPLES[0].read_bytes()).json()["timings_ms"]
    total = spent.pop("total")
    assert sum(spent.values()) == pytest.approx(total, rel=0.02)
