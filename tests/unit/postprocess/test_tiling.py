from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.postprocess.clustering import decode_discriminative
from service.postprocess.labelled import Labelled
from service.postprocess.tiling import Stitcher, plan_tiles
from tests.strategies import LabelImage, Scene, embed, same_partition

LARGEST = 24
"""Side of the largest object; tiles overlap by more."""


@given(st.integers(1, 300), st.integers(1, 300), st.integers(2, 80), st.data())
def test_cores_cover_every_pixel_once(
    height: int, width: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile - 1).filter(lambda n: n <= tile // 2))
    seen = np.zeros((height, width), np.int64)
    for planned in plan_tiles(height, width, tile, overlap):
        top, left = planned.core_top, planned.core_left
        seen[top : top + planned.core_height, left : left + planned.core_width] += 1
    assert (seen == 1).all()


@given(st.integers(1, 500), st.integers(2, 80), st.data())
def test_windows_lie_inside_and_share_the_overlap(
    width: int, tile: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, tile // 2))
    tiles = plan_tiles(5, width, tile, overlap)
    ends = [planned.left + planned.width for planned in tiles]
    assert max(ends) == width
    assert all(planned.width == min(tile, width) for planned in tiles)
    shared = [end - following.left for end, following in zip(ends, tiles[1:], strict=False)]
    assert min(shared, default=tile) >= overlap
    assert all(planned.core_left >= planned.left for planned in tiles)


def grid_of_objects(height: int, width: int, rng: np.random.Generator) -> LabelImage:
    """Objects no larger than `LARGEST`, some of which touch."""
    labels = np.zeros((height, width), np.int32)
    for k in range(1, max(2, height * width // 300)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        tall, wide = rng.integers(2, LARGEST, 2)
        window = labels[y : y + tall, x : x + wide]
        window[window == 0] = k
    return labels


def part_of(
    labels: LabelImage, scores: Sequence[float] = (), classes: Sequence[int] | None = None
) -> Labelled:
    """Instances of one tile; of one class unless said."""
    of_class = [0] * len(scores) if classes is None else classes
    return Labelled(labels, np.array(scores, np.float64), np.array(of_class, np.int64))


def in_tiles(scene: Scene, tile: int, overlap: int, rng: np.random.Generator) -> LabelImage:
    """Decode each tile on its own, with vectors that share nothing with those of other tiles."""
    height, width = scene.labels.shape
    tiles = plan_tiles(height, width, tile, overlap)
    stitcher = Stitcher(height, width, tiles)
    for planned in tiles:
        window = scene.embedding[(slice(None), *planned.window)]
        turn, _ = np.linalg.qr(rng.normal(size=(window.shape[0],) * 2))
        turned = np.tensordot(turn, window, axes=1) + rng.normal(size=(window.shape[0], 1, 1)) * 9
        found = decode_discriminative(
            turned.astype(np.float32), scene.foreground[planned.window], bandwidth=1.5
        )
        stitcher.add(planned, part_of(found.labels, found.confidence.tolist()))
    return stitcher.result().labels


@given(st.integers(0, 10_000), st.integers(30, 150), st.integers(30, 150))
@settings(max_examples=60)
def test_tiled_equals_whole(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = grid_of_objects(height, width, rng)
    scene = embed(
        np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32), 8, rng
    )
    whole = decode_discriminative(scene.embedding, scene.foreground, bandwidth=1.5).labels
    assert same_partition(in_tiles(scene, 64, LARGEST + 4, rng), whole)


def test_an_object_on_four_tiles_is_one() -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[40:60, 42:58] = 1
    scene = embed(labels, 8, np.random.default_rng(0))
    assert same_partition(in_tiles(scene, 64, 28, np.random.default_rng(1)), labels)


def test_an_object_longer_than_a_tile_is_one() -> None:
    labels = np.zeros((40, 400), np.int32)
    labels[10:20, 5:395] = 1
    labels[25:30, 100:300] = 2
    scene = embed(labels, 8, np.random.default_rng(0))
    assert same_partition(in_tiles(scene, 64, 20, np.random.default_rng(1)), labels)


def test_neighbours_that_touch_at_a_seam_stay_two() -> None:
    labels = np.ones((32, 100), np.int32)
    labels[:, 50:] = 2
    scene = embed(labels, 8, np.random.default_rng(0))
    assert same_partition(in_tiles(scene, 64, 28, np.random.default_rng(1)), labels)


def test_scores_are_weighted_by_pixels_and_classes_are_kept_apart() -> None:
    tiles = plan_tiles(1, 12, 8, 4)
    stitcher = Stitcher(1, 12, tiles)
    first = np.array([[1, 1, 1, 1, 1, 1, 2, 2]], np.int32)
    second = np.array([[1, 1, 2, 2, 0, 0, 3, 3]], np.int32)
    stitcher.add(tiles[0], part_of(first, [0.5, 0.9], [0, 1]))
    stitcher.add(tiles[1], part_of(second, [0.8, 0.7, 0.6], [0, 2, 0]))
    found = stitcher.result()
    assert found.labels.tolist() == [[1, 1, 1, 1, 1, 1, 2, 2, 0, 0, 3, 3]]
    np.testing.assert_allclose(found.scores, [0.5, 0.7, 0.6])
    assert found.classes.tolist() == [0, 2, 0]


def test_an_image_without_instances_stitches_to_background() -> None:
    tiles = plan_tiles(20, 20, 16, 4)
    stitcher = Stitcher(20, 20, tiles)
    for planned in tiles:
        stitcher.add(planned, part_of(np.zeros((16, 16), np.int32)))
    found = stitcher.result()
    assert not found.labels.any()
    assert found.scores.size == found.classes.size == 0


def test_tiles_out_of_turn_are_refused() -> None:
    tiles = plan_tiles(20, 20, 16, 4)
    stitcher = Stitcher(20, 20, tiles)
    with pytest.raises(ValueError, match="order of the plan"):
        stitcher.add(tiles[1], part_of(np.zeros((16, 16), np.int32)))
    with pytest.raises(ValueError, match="order of the plan"):
        stitcher.add(tiles[0], part_of(np.zeros((15, 16), np.int32)))


def test_a_result_waits_for_every_tile() -> None:
    with pytest.raises(ValueError, match="1 tiles are missing"):
        Stitcher(4, 4, plan_tiles(4, 4, 8, 2)).result()


@pytest.mark.parametrize("overlap", [-1, 8])
def test_an_overlap_that_leaves_no_tile_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        plan_tiles(20, 20, 8, overlap)
