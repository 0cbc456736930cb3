from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score

from service.postprocess.clustering import cluster, decode_discriminative
from tests.strategies import (
    DELTA_DIST,
    DELTA_VAR,
    LabelImage,
    Scene,
    discs,
    embed,
    noisy,
    same_partition,
    scenes,
)

ON_THE_MARGINS = np.array([[[-0.5, 0.5, 2.5, 3.5]]], np.float32)


def blobs(side: int, count: int, size: int, noise: float, seed: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    return noisy(embed(discs(side, side, count, rng), size, rng, radius=0.0), noise, rng)


def found(scene: Scene, **options: float) -> LabelImage:
    settings = {"bandwidth": DELTA_DIST, "min_pixels": 1, **options}
    return cluster(scene.embedding, scene.foreground, **settings)  # type: ignore[arg-type]


@given(scenes(), st.floats(2 * DELTA_VAR, 2 * DELTA_DIST - 2 * DELTA_VAR, exclude_max=True))
@settings(max_examples=200)
def test_at_zero_loss_any_valid_bandwidth_gives_the_instances(
    scene: Scene, bandwidth: float
) -> None:
    assert same_partition(found(scene, bandwidth=bandwidth), scene.labels)


@given(scenes(), st.integers(0, 100))
@settings(max_examples=50)
def test_the_seed_moves_the_sample_but_not_the_instances(scene: Scene, seed: int) -> None:
    assert same_partition(found(scene, seed=seed), scene.labels)


@pytest.mark.parametrize(
    ("bandwidth", "instances"), [(0.5, 4), (1.01, 2), (1.5, 2), (2.0, 2), (2.5, 2), (3.1, 1)]
)
def test_the_worked_example_on_the_margins(bandwidth: float, instances: int) -> None:
    labels = cluster(ON_THE_MARGINS, np.ones((1, 4), np.bool_), bandwidth=bandwidth, min_pixels=1)
    assert labels.max() == instances


@pytest.mark.parametrize("size", [2, 8])
def test_noise_does_not_part_what_mean_shift_keeps_together(size: int) -> None:
    scene = blobs(96, 8, size, noise=0.15)
    ours = found(scene, min_pixels=5)[scene.foreground]
    vectors = scene.embedding[:, scene.foreground].T
    theirs = MeanShift(bandwidth=DELTA_DIST, bin_seeding=True).fit(vectors).labels_
    assert adjusted_rand_score(theirs, ours) >= 0.999


def test_every_pixel_goes_to_its_nearest_centre() -> None:
    scene = blobs(128, 12, 8, noise=0.2)
    labels = found(scene, min_pixels=5)
    vectors = scene.embedding[:, labels > 0]
    owners = labels[labels > 0] - 1
    means = np.stack([vectors[:, owners == k].mean(axis=1) for k in range(labels.max())], axis=1)
    gaps = np.linalg.norm(vectors[:, :, None] - means[:, None, :], axis=0)
    assert (gaps.argmin(axis=1) == owners).mean() >= 0.9999


def test_messy_maps_keep_most_of_their_partition() -> None:
    scene = blobs(128, 10, 8, noise=0.3)
    labels = found(scene, min_pixels=5)
    assert adjusted_rand_score(scene.labels.ravel(), labels.ravel()) >= 0.99


def test_outliers_of_many_dimensions_open_no_instances() -> None:
    scene = blobs(256, 10, 16, noise=0.3)
    labels = found(scene, min_pixels=5)
    assert labels.max() == scene.labels.max()
    assert adjusted_rand_score(scene.labels[scene.foreground], labels[scene.foreground]) >= 0.999


def test_clusters_wider_than_the_bandwidth_are_found_whole() -> None:
    scene = blobs(256, 10, 32, noise=0.3)  # pixels 1.7 from their centre, 2.4 from one another
    labels = found(scene, min_pixels=5)
    assert labels.max() <= scene.labels.max()
    assert adjusted_rand_score(scene.labels[scene.foreground], labels[scene.foreground]) >= 0.99


@pytest.mark.parametrize("bandwidth", [1.01, 1.5, 1.99])
def test_instances_of_one_pixel_do_not_pass_for_wide_clusters(bandwidth: float) -> None:
    labels = np.zeros((160, 160), np.int32)
    labels[::2, ::3] = np.arange(1, 80 * 54 + 1).reshape(80, 54)
    labels[::2, 1::3] = np.roll(labels[::2, ::3], 1)[:, :53]  # no two neighbours are of one
    scene = embed(labels, 8, np.random.default_rng(12))
    assert same_partition(found(scene, bandwidth=bandwidth), labels)


@pytest.mark.parametrize(("noise", "owner"), [(0.0, 0), (0.4, 1)])
def test_only_where_clusters_are_loose_do_centres_reach_past_the_bandwidth(
    noise: float, owner: int
) -> None:
    embedding = np.random.default_rng(12).normal(0.0, noise, (4, 60, 60)).astype(np.float32)
    embedding[:, 30, 30] = [1.8, 0.0, 0.0, 0.0]
    labels = cluster(embedding, np.ones((60, 60), np.bool_), bandwidth=DELTA_DIST, min_pixels=5)
    assert labels[30, 30] == owner


@pytest.mark.parametrize("side", [200, 511])
def test_specks_between_the_samples_get_instances(side: int) -> None:
    labels = np.zeros((side, side), np.int32)
    labels[20:-20, 20:-20] = 1
    labels[31, 41:43] = 2
    labels[side - 40 : side - 38, 77] = 3
    scene = embed(labels, 8, np.random.default_rng(3))
    assert same_partition(found(scene, min_pixels=2), labels)


def test_a_single_pixel_gets_an_instance() -> None:
    labels = np.ones((300, 300), np.int32)
    labels[151, 137] = 2
    scene = embed(labels, 8, np.random.default_rng(4))
    assert same_partition(found(scene), labels)


def test_half_precision_gives_the_same_instances() -> None:
    rng = np.random.default_rng(5)
    scene = embed(discs(120, 90, 9, rng), 8, rng)
    half = Scene(scene.embedding.astype(np.float16), scene.labels)
    assert same_partition(found(half), scene.labels)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_crop_is_read_in_place(dtype: type[np.floating[npt.NBitBase]]) -> None:
    rng = np.random.default_rng(6)
    scene = embed(discs(80, 100, 6, rng), 4, rng)
    padded = np.full((4, 96, 128), 1000.0, dtype)
    padded[:, :80, :100] = scene.embedding
    labels = cluster(padded[:, :80, :100], scene.foreground, bandwidth=DELTA_DIST, min_pixels=1)
    assert same_partition(labels, scene.labels)


@pytest.mark.parametrize("layout", ["reversed", "transposed", "double"])
def test_any_layout_gives_the_same_labels(layout: str) -> None:
    rng = np.random.default_rng(7)
    scene = embed(discs(40, 40, 5, rng), 3, rng)
    views = {
        "reversed": scene.embedding[:, ::-1].copy()[:, ::-1],
        "transposed": scene.embedding.transpose(0, 2, 1).copy().transpose(0, 2, 1),
        "double": scene.embedding.astype(np.float64),
    }
    view = Scene(views[layout], scene.labels)
    assert np.array_equal(found(view), found(scene))


def test_vectors_that_are_not_finite_are_background() -> None:
    rng = np.random.default_rng(8)
    scene = embed(np.ones((64, 64), np.int32), 4, rng)
    scene.embedding[0, 3, 4] = np.nan
    scene.embedding[1, 5, 6] = np.inf
    scene.embedding[2, 7, 8] = -np.inf
    scene.embedding[3, 9, 10] = 3e38
    labels = found(scene)
    assert labels.max() == 1
    assert sorted(np.argwhere(labels == 0).tolist()) == [[3, 4], [5, 6], [7, 8], [9, 10]]


def test_half_precision_infinities_are_background() -> None:
    embedding = np.zeros((2, 4, 4), np.float16)
    embedding[0, 1, 1], embedding[1, 2, 2] = np.inf, np.nan
    labels = cluster(embedding, np.ones((4, 4), np.bool_), bandwidth=1.0, min_pixels=1)
    assert np.argwhere(labels == 0).tolist() == [[1, 1], [2, 2]]


@pytest.mark.parametrize("value", [6e-8, 6.1e-5, -1.0, 65_504.0])
def test_every_half_precision_number_is_read_as_it_is(value: float) -> None:
    embedding = np.array([[[0.0, value]]], np.float16)
    gap = abs(float(np.float16(value)))
    mask = np.ones((1, 2), np.bool_)
    assert cluster(embedding, mask, bandwidth=gap * 1.01, min_pixels=1).max() == 1
    assert cluster(embedding, mask, bandwidth=gap * 0.45, min_pixels=1).max() == 2


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (0, 4), (4, 0)])
def test_no_foreground_gives_no_instances(shape: tuple[int, int]) -> None:
    labels = cluster(
        np.zeros((3, *shape), np.float16), np.zeros(shape, np.bool_), bandwidth=1.5, min_pixels=1
    )
    assert labels.shape == shape
    assert not labels.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_an_image_without_one_finite_vector_is_background(
    value: float, dtype: type[np.floating[npt.NBitBase]]
) -> None:
    labels = cluster(
        np.full((3, 150, 150), value, dtype),
        np.ones((150, 150), np.bool_),
        bandwidth=1.5,
        min_pixels=1,
    )
    assert not labels.any()


def test_one_pixel_is_one_instance() -> None:
    labels = cluster(
        np.zeros((3, 1, 1), np.float16), np.ones((1, 1), np.bool_), bandwidth=1.5, min_pixels=1
    )
    assert labels.tolist() == [[1]]


def test_an_image_of_one_instance_is_one_instance() -> None:
    labels = cluster(
        np.zeros((8, 70, 70), np.float32), np.ones((70, 70), np.bool_), bandwidth=1.5, min_pixels=9
    )
    assert (labels == 1).all()


@pytest.mark.slow
def test_65536_instances_are_told_apart() -> None:
    labels = np.kron(np.arange(1, 65_537).reshape(256, 256), np.ones((4, 4), np.int64))
    scene = embed(labels.astype(np.int32), 8, np.random.default_rng(9), radius=0.2)
    assert same_partition(found(scene, min_pixels=4), labels)


def test_small_instances_are_dropped() -> None:
    labels = np.zeros((90, 90), np.int32)
    labels[:40] = 1
    labels[50:52, 50:52] = 2
    scene = embed(labels, 8, np.random.default_rng(10))
    assert same_partition(found(scene, min_pixels=5), np.where(labels == 2, 0, labels))


def test_threads_do_not_change_the_labels() -> None:
    scene = blobs(160, 12, 8, noise=0.3)
    alone = found(scene, min_pixels=5)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: found(scene, min_pixels=5), range(12)))
    assert [np.array_equal(labels, alone) for labels in together] == [True] * 12


def test_confidence_is_the_mean_closeness_to_the_centre() -> None:
    decoded = decode_discriminative(
        ON_THE_MARGINS, np.ones((1, 4), np.bool_), bandwidth=1.5, min_pixels=1
    )
    np.testing.assert_allclose(decoded.confidence, np.exp(-((0.5 / 1.5) ** 2)), rtol=1e-6)


@given(scenes(longest=48))
@settings(max_examples=50)
def test_confidence_lies_between_0_and_1(scene: Scene) -> None:
    decoded = decode_discriminative(scene.embedding, scene.foreground)
    assert decoded.confidence.size == decoded.labels.max(initial=0)
    assert ((decoded.confidence > 0.0) & (decoded.confidence <= 1.0)).all()


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, np.nan, np.inf])
def test_a_bandwidth_that_is_no_radius_is_refused(bandwidth: float) -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        cluster(ON_THE_MARGINS, np.ones((1, 4), np.bool_), bandwidth=bandwidth, min_pixels=1)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        cluster(ON_THE_MARGINS, np.ones((4, 1), np.bool_), bandwidth=1.0, min_pixels=1)


def test_whole_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="floating"):
        cluster(
            np.zeros((2, 3, 3), np.int32),
            np.ones((3, 3), np.bool_),
            bandwidth=1.0,
            min_pixels=1,
        )
