from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.postprocess.associative import decode_associative
from service.postprocess.metric_learning import (
    TAUS,
    decode_metric_learning,
    diverse,
    radius2_of,
)
from service.postprocess.recurrent import decode_recurrent, farthest_points, shift_on_sphere
from service.postprocess.spatial import decode_spatial
from tests.strategies import LabelImage, Scene, discs, embed, same_partition

Floats = npt.NDArray[np.float32]


def everywhere(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    return np.ones(shape, np.bool_)


def line(values: list[float]) -> Floats:
    return np.array(values, np.float32).reshape(1, 1, -1)


def drawn(seed: int, *, side: int = 80, count: int = 9) -> LabelImage:
    return discs(side, side, count, np.random.default_rng(seed))


# --- associative


def tagged(seed: int) -> Scene:
    rng = np.random.default_rng(seed)
    labels = drawn(seed)
    tags = rng.permutation(int(labels.max()) + 1) * 1.1 - 4.0
    return Scene(
        (tags[labels] + rng.uniform(-0.1, 0.1, labels.shape))[None].astype(np.float32), labels
    )


@given(st.integers(0, 10_000), st.sampled_from([np.float16, np.float32]))
@settings(max_examples=40)
def test_tags_with_gaps_give_the_instances(
    seed: int, dtype: type[np.floating[npt.NBitBase]]
) -> None:
    scene = tagged(seed)
    found = decode_associative(scene.embedding.astype(dtype), scene.foreground)
    assert same_partition(found.labels, scene.labels)


def test_tags_go_to_the_nearest_peak_and_no_farther_than_the_separation() -> None:
    tags = line([0.0] * 9 + [2.0] * 9 + [0.4, 1.0, 1.7])
    found = decode_associative(tags, everywhere((1, 21)), bandwidth=0.5, min_pixels=5)
    assert found.labels.tolist() == [[1] * 9 + [2] * 9 + [1, 0, 2]]


def test_a_peak_needs_its_votes() -> None:
    tags = line([0.0] * 9 + [3.0] * 4)
    found = decode_associative(tags, everywhere((1, 13)), min_pixels=5)
    assert found.labels.tolist() == [[1] * 9 + [0] * 4]


def test_wild_tags_are_background() -> None:
    tags = line([0.0, 0.0, np.nan, np.inf, 3e38, -3e38])
    assert decode_associative(tags, everywhere((1, 6))).labels.tolist() == [[1, 1, 0, 0, 0, 0]]


def test_tags_of_several_dimensions_are_clustered() -> None:
    rng = np.random.default_rng(0)
    scene = embed(drawn(0), 2, rng, radius=0.2)
    found = decode_associative(scene.embedding, scene.foreground, bandwidth=0.5)
    assert same_partition(found.labels, scene.labels)
    assert (found.confidence == 1.0).all()


# --- metric learning


def test_similarities_have_the_published_radii() -> None:
    radii = [radius2_of(tau) ** 0.5 for tau in TAUS]
    np.testing.assert_allclose(radii, [1.3950, 1.0481, 0.7147, 0.4480], atol=5e-5)


def test_seeds_come_in_the_order_of_the_worked_example() -> None:
    samples = np.array([[0.0, 0.1, 3.0, 3.2]], np.float32)
    quality = np.array([0.9, 0.85, 0.6, 0.5], np.float32)
    order = diverse(samples, quality, np.zeros(4, np.float32), np.float32(0.3), 4)
    assert order.tolist() == [0, 2, 1, 3]


def seediness(shape: tuple[int, ...], best: int = 1, logit: float = 2.0) -> Floats:
    maps = np.full((len(TAUS), *shape), -3.0, np.float32)
    maps[best] = logit
    return maps


@given(st.integers(0, 10_000), st.sampled_from([0, 1, 2, 3]), st.sampled_from([2, 8, 64]))
@settings(max_examples=40)
def test_tight_groups_are_found_at_every_threshold(seed: int, best: int, size: int) -> None:
    scene = embed(drawn(seed), size, np.random.default_rng(seed), radius=0.2)
    found = decode_metric_learning(
        scene.embedding, scene.foreground, seediness(scene.labels.shape, best)
    )
    assert same_partition(found.labels, scene.labels)
    np.testing.assert_allclose(found.confidence, 1.0 / (1.0 + np.exp(-2.0)), rtol=1e-5)


def test_a_better_seed_wins_the_pixels_of_both_masks() -> None:
    maps = seediness((1, 3))
    maps[1] = [[1.0, 0.5, 3.0]]
    found = decode_metric_learning(line([0.0, 1.0, 2.0]), everywhere((1, 3)), maps)
    assert found.labels[0, 1] == found.labels[0, 2] != found.labels[0, 0]


def test_specks_between_the_samples_get_a_seed() -> None:
    labels = np.ones((256, 256), np.int32)
    labels[33, 101:103] = 2
    scene = embed(labels, 8, np.random.default_rng(1), radius=0.2)
    found = decode_metric_learning(
        scene.embedding, scene.foreground, seediness(labels.shape), min_pixels=2
    )
    assert same_partition(found.labels, labels)


def test_seediness_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="seediness"):
        decode_metric_learning(line([0.0]), everywhere((1, 1)), np.zeros((1, 1, 1), np.float32))


# --- recurrent


def directions(degrees: list[float]) -> Floats:
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)])[:, None].astype(np.float32)


def test_angles_of_the_worked_example_form_three_groups() -> None:
    embedding = directions([0, 4, 8, 90, 95, 180, 184, 188])
    found = decode_recurrent(embedding, everywhere((1, 8)), kappa=100.0)
    assert found.labels.tolist() == [[1, 1, 1, 2, 2, 3, 3, 3]]


def test_modes_rest_in_the_middle_of_their_angles() -> None:
    samples = np.ascontiguousarray(directions([0, 4, 8, 90, 95, 180, 184, 188])[:, 0])
    modes = shift_on_sphere(
        samples, np.ascontiguousarray(samples[:, [0, 3, 7]]), np.float32(100), 10
    )
    angles = np.rad2deg(np.arctan2(modes[1], modes[0])) % 360.0
    np.testing.assert_allclose(angles, [4.0, 92.5, 184.0], atol=0.01)


def test_one_step_equals_the_formula() -> None:
    samples = np.array([[1, 0.6, 0, -1], [0, 0.8, 1, 0]], np.float32)
    moved = shift_on_sphere(samples, samples, np.float32(2), 1)
    weights = np.exp(2.0 * (samples.T @ samples - 1.0))
    expected = samples @ weights
    np.testing.assert_allclose(moved, expected / np.linalg.norm(expected, axis=0), atol=1e-5)
    np.testing.assert_allclose(moved[:, 0], [0.929934, 0.367727], atol=1e-5)


def test_the_smallest_group_gets_a_seed() -> None:
    samples = directions([0.0] * 500 + [120.0])[:, 0]
    seeds = farthest_points(np.ascontiguousarray(samples), 100, np.float32(0.04))
    assert seeds.shape == (2, 2)


@given(st.integers(0, 10_000), st.sampled_from([np.float16, np.float32]))
@settings(max_examples=30)
def test_orthogonal_groups_are_found(seed: int, dtype: type[np.floating[npt.NBitBase]]) -> None:
    rng = np.random.default_rng(seed)
    labels = drawn(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(16, 16)))
    embedding = turned[labels].transpose(2, 0, 1) + rng.normal(scale=0.03, size=(16, *labels.shape))
    lengths = rng.uniform(0.5, 20.0, labels.shape)
    found = decode_recurrent((embedding * lengths).astype(dtype), labels > 0)
    assert same_partition(found.labels, labels)
    assert (found.confidence > 0.95).all()


def test_vectors_without_a_direction_are_background() -> None:
    embedding = directions([0, 0, 0, 0])
    embedding[:, 0, 1] = 0.0
    embedding[:, 0, 2] = np.nan
    assert decode_recurrent(embedding, everywhere((1, 4))).labels.tolist() == [[1, 0, 0, 1]]


# --- spatial


UNIT_PX = 64.0


def pointing(labels: LabelImage, jitter_px: float, rng: np.random.Generator) -> Floats:
    """Offsets from each pixel to the mean pixel of its instance."""
    places = np.indices(labels.shape).astype(np.float64)
    middle = np.stack(
        [
            np.bincount(labels.ravel(), place.ravel()) / np.maximum(np.bincount(labels.ravel()), 1)
            for place in places
        ]
    )
    offsets = middle[:, labels] - places + rng.uniform(-jitter_px, jitter_px, places.shape)
    return (offsets / UNIT_PX).astype(np.float32)


def sigma_of(radius_px: float, shape: tuple[int, ...], planes: int = 1) -> Floats:
    s = np.log(2.0) / (radius_px / UNIT_PX) ** 2
    return np.full((planes, *shape), np.log(s) / 10.0, np.float32)


def spots(seed: int) -> LabelImage:
    """Squares on a grid: what is left of a disc can have its middle elsewhere."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((96, 96), np.int32)
    sides = rng.integers(3, 20, (4, 4))
    for k, (row, column) in enumerate(np.ndindex(4, 4), start=1):
        y, x = 24 * row + 2, 24 * column + 2
        labels[y : y + sides[row, column], x : x + sides[row, column]] = k
    return labels


@given(st.integers(0, 10_000), st.sampled_from([1, 2]))
@settings(max_examples=30)
def test_pixels_that_point_at_their_middle_are_grouped(seed: int, planes: int) -> None:
    labels = spots(seed)
    offsets = pointing(labels, 1.0, np.random.default_rng(seed))
    found = decode_spatial(
        offsets,
        labels > 0,
        sigma_of(5.0, labels.shape, planes),
        np.full(labels.shape, 4.0, np.float32),
        unit_px=UNIT_PX,
    )
    assert same_partition(found.labels, labels)
    np.testing.assert_allclose(found.confidence, 1.0 / (1.0 + np.exp(-4.0)), rtol=1e-5)


def slow_spatial(
    points: Floats, radius_px: float, seeds: Floats, min_seed: float, min_pixels: int
) -> npt.NDArray[np.int32]:
    """Transcribe the decoder's rule for points on a line, ball by ball."""
    owners = np.zeros(seeds.size, np.int32)
    order = [
        i for i in np.argsort(-seeds, kind="stable") if seeds[i] > np.log(min_seed / (1 - min_seed))
    ]
    for i in order:
        ball = np.hypot(*(points - points[:, [i]])) < radius_px
        free = ball & (owners == 0)
        if owners[i] == 0 and free.sum() >= min_pixels and 2 * free.sum() > ball.sum():
            owners[free] = owners.max() + 1
    return owners


@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 6]),
    st.sampled_from([0.3, 2.0, 7.0, 40.0]),
    st.sampled_from([0.02, 0.2, 20.0]),
)
@settings(max_examples=200)
def test_balls_are_taken_as_the_slow_rule_takes_them(
    seed: int, min_pixels: int, radius_px: float, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    offsets = rng.normal(scale=scale, size=(2, 20, 25)).astype(np.float32)
    seeds = rng.normal(scale=3.0, size=(20, 25)).astype(np.float32)
    found = decode_spatial(
        offsets,
        everywhere((20, 25)),
        sigma_of(radius_px, (20, 25)),
        seeds,
        unit_px=UNIT_PX,
        min_pixels=min_pixels,
    )
    points = np.indices((20, 25)).reshape(2, -1) + offsets.reshape(2, -1) * UNIT_PX
    expected = slow_spatial(points.astype(np.float32), radius_px, seeds.ravel(), 0.9, min_pixels)
    assert same_partition(found.labels, expected.reshape(20, 25))


@pytest.mark.parametrize("wild", [0.0, 1e9], ids=["crowded", "with wild offsets"])
def test_a_large_object_that_points_at_one_spot_takes_no_time_that_grows_as_its_square(
    wild: float,
) -> None:
    shape = (512, 512)
    offsets = pointing(np.ones(shape, np.int32), 4.0, np.random.default_rng(0))
    offsets[:, 0, :4] = wild
    seeds = np.full(shape, 5.0, np.float32)
    decode_spatial(offsets[:, :9, :9], everywhere((9, 9)), sigma_of(1.0, (9, 9)), seeds[:9, :9])
    began_s = time.thread_time()
    decode_spatial(offsets, everywhere(shape), sigma_of(1.0, shape), seeds, min_pixels=8)
    assert time.thread_time() - began_s < 8.0


def test_wild_offsets_are_background() -> None:
    offsets = np.zeros((2, 3, 3), np.float32)
    offsets[0, 0, 0], offsets[1, 1, 1], offsets[0, 2, 2] = np.nan, np.inf, 1e30
    found = decode_spatial(
        offsets, everywhere((3, 3)), sigma_of(9.0, (3, 3)), np.full((3, 3), 5.0, np.float32)
    )
    assert found.labels[0, 0] == found.labels[1, 1] == 0
    assert found.labels[2, 2] != found.labels[0, 1] > 0


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        decode_spatial(
            np.zeros((3, 2, 2), np.float32),
            everywhere((2, 2)),
            np.zeros((1, 2, 2), np.float32),
            np.zeros((2, 2), np.float32),
        )


# --- all of them


def nothing(size: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    return np.zeros((size, 5, 4), np.float32), np.zeros((5, 4), np.bool_)


def test_no_foreground_gives_no_instances_whatever_the_method() -> None:
    maps = np.zeros((4, 5, 4), np.float32)
    found = [
        decode_associative(*nothing(1)),
        decode_metric_learning(*nothing(3), maps),
        decode_recurrent(*nothing(3)),
        decode_spatial(*nothing(2), maps[:1], maps[0]),
    ]
    assert [decoded.labels.any() or decoded.confidence.size for decoded in found] == [0] * 4
