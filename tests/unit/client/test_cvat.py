"""What CVAT's own tools make of the auto-annotation function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import pytest
from cvat_sdk.masks import decode_mask
from PIL import Image, ImageDraw

from discern.cvat import Function, create
from tests.scenes import draw_scene, running_server, write_scenes_model

IMAGE, LABELS = draw_scene(4)
HEIGHT, WIDTH = LABELS.shape
FRAME = Image.fromarray(IMAGE)


@dataclass
class Context(cvataa.DetectionFunctionContext):  # type: ignore[misc]
    """What CVAT's driver hands to a function."""

    frame_name: str = "frame.png"
    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


@pytest.fixture(scope="module")
def function(server: str) -> Iterator[Function]:
    with closing(create(url=server)) as loaded:
        yield loaded


def test_the_labels_are_the_categories_of_the_model(function: Function) -> None:
    (label,) = function.spec.labels
    assert (label.id, label.name, label.type) == (1, "disc", "mask")


def test_the_masks_are_those_that_were_drawn(function: Function) -> None:
    shapes = function.detect(Context(), FRAME)
    masks = [decode_mask(s.points, image_width=WIDTH, image_height=HEIGHT) for s in shapes]
    drawn = {np.equal(LABELS, label).tobytes() for label in range(1, LABELS.max() + 1)}
    assert {mask.tobytes() for mask in masks} == drawn
    assert {(s.type.value, s.label_id, s.frame) for s in shapes} == {("mask", 1, 0)}
    assert all(0 < shape.score <= 1 for shape in shapes)
    assert not any(hasattr(shape, "id") or hasattr(shape, "source") for shape in shapes)


def test_frames_of_larger_objects_are_seen_at_a_smaller_scale(server: str) -> None:
    frame = FRAME.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.NEAREST)
    with closing(create(url=server, scale=0.5)) as function:
        assert len(function.detect(Context(), frame)) == LABELS.max()
    with closing(create(url=server, scale="auto")) as function:
        assert len(function.detect(Context(), FRAME)) == LABELS.max()


def test_one_channel_of_the_frames_is_segmented(server: str) -> None:
    blue = np.zeros_like(np.asarray(FRAME))
    blue[..., 2] = (LABELS > 0) * 50  # too dim in one channel of three
    frame = Image.fromarray(blue)
    with closing(create(url=server)) as function:
        assert function.detect(Context(), frame) == []
    with closing(create(url=server, channel=2)) as function:
        assert function.detect(Context(), frame)


def test_polygons_go_around_what_was_drawn(function: Function) -> None:
    shapes = function.detect(Context(conv_mask_to_poly=True), FRAME)
    assert {shape.type.value for shape in shapes} == {"polygon"}
    canvas = Image.new("L", FRAME.size)
    for shape in shapes:
        ImageDraw.Draw(canvas).polygon(shape.points, fill=1)
    assert np.asarray(canvas, np.bool_)[LABELS > 0].all()


def test_shapes_below_the_threshold_are_left_out(function: Function) -> None:
    scores = sorted(shape.score for shape in function.detect(Context(), FRAME))
    least = scores[len(scores) // 2]
    above = function.detect(Context(conf_threshold=least), FRAME)
    assert 0 < len(above) < len(scores)
    assert min(shape.score for shape in above) >= least


def test_without_a_threshold_that_of_the_model_holds(function: Function, tmp_path: Path) -> None:
    scores = sorted(shape.score for shape in function.detect(Context(), FRAME))
    least = scores[len(scores) // 2]
    config = write_scenes_model(tmp_path) / "config.pbtxt"
    said = config.read_text()
    config.write_text(said.replace(r"\"min_score\":0.0", rf"\"min_score\":{least}"))
    with running_server(tmp_path) as address, closing(create(url=address)) as function:
        for polygons in (False, True):
            shapes = function.detect(Context(conv_mask_to_poly=polygons), FRAME)
            assert {shape.score for shape in shapes} == {s for s in scores if s >= least}
        assert len(function.detect(Context(conf_threshold=0.0), FRAME)) == len(scores)


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_a_frame_of_any_mode_is_understood(function: Function, mode: str) -> None:
    assert len(function.detect(Context(), FRAME.convert(mode))) == len(
        function.detect(Context(), FRAME.convert(mode).convert("RGB"))
    )


def test_a_frame_of_16_bits_keeps_them(function: Function) -> None:
    grey = Image.fromarray(IMAGE.max(axis=2).astype(np.uint16) * 257)
    assert len(function.detect(Context(), grey)) > 0


def test_a_model_that_is_not_there_is_named_with_those_that_are(server: str) -> None:
    with pytest.raises(cvataa.BadFunctionError, match="no model 'nobody'; it has scenes"):
        create(url=server, model="nobody")
