"""Deep metric learning against worked numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from service.postprocess.metric_learning import TAUS, radius2_of
from tests.unit.training.conftest import gradient, most_kept, three_images
from training.config.loss import MetricLearningConfig
from training.losses.metric_learning import metric_learning_loss
from training.losses.segments import sample, segment


def terms(
    points: list[float], ids: list[int], seeds: Tensor | None = None, **changes: Any
) -> dict[str, Tensor]:
    embedding = torch.tensor(points, dtype=torch.float64).view(1, 1, 1, -1)
    if seeds is None:
        seeds = torch.zeros(1, 4, 1, len(points), dtype=torch.float64)
    return metric_learning_loss(
        embedding,
        seeds,
        torch.tensor(ids).view(1, 1, -1),
        MetricLearningConfig(**changes),
        torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"weights": "uniform"}, 0.4762289049),
        ({"weights": "uniform", "diagonal": True}, 0.3174859365),
        ({}, 0.4474517845),
        ({"diagonal": True}, 0.2796573653),
    ],
)
def test_worked_examples_have_their_values(changes: dict[str, Any], expected: float) -> None:
    pairs = terms([0, 1, 2], [1, 1, 2], **changes)["pairs"].item()
    assert pairs == pytest.approx(expected, abs=1e-6)


def test_a_seed_is_good_where_its_mask_meets_its_instance() -> None:
    # Around 0 every radius takes in the first instance alone; around 1.2 the widest one, 1.395,
    # takes in everything: 2 pixels of its own against 6.
    points, ids = [0, 0, 0, 0, 1.2, 1.2], [1, 1, 1, 1, 2, 2]
    good = torch.full((1, 4, 1, 6), 40.0, dtype=torch.float64)
    good[0, 0] = -40
    assert terms(points, ids, good)["seeds"].item() > 1
    good[0, 0] = torch.tensor([40.0, 40, 40, 40, -40, -40], dtype=torch.float64)
    assert terms(points, ids, good)["seeds"].item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("beyond", [0.99, 1.01])
@pytest.mark.parametrize("tau", TAUS)
def test_masks_reach_as_far_as_the_decoder_grows_them(tau: float, beyond: float) -> None:
    gap2 = beyond * radius2_of(tau)
    # A mask that takes in the other instance, as large as its own, is no good.
    apart = torch.tensor([gap2 > radius2_of(other) for other in TAUS])
    good = torch.where(apart, 40.0, -40.0).double().view(1, -1, 1, 1).expand(-1, -1, 1, 8)
    found = terms([0] * 4 + [gap2**0.5] * 4, [1] * 4 + [2] * 4, good)
    assert found["seeds"].item() == pytest.approx(0, abs=1e-9)


def test_coincident_vectors_of_two_instances_cost_a_finite_amount() -> None:
    assert terms([0, 0], [1, 2])["pairs"].item() == pytest.approx(14.5087, abs=0.02)


@pytest.mark.parametrize("ids", [[0, 0, -1], [0, 5, 0]])
def test_too_few_pixels_give_finite_gradients(ids: list[int]) -> None:
    embedding = torch.randn(1, 2, 1, 3, requires_grad=True)
    seeds = torch.randn(1, 4, 1, 3, requires_grad=True)
    loss = metric_learning_loss(
        embedding,
        seeds,
        torch.tensor(ids).view(1, 1, 3),
        MetricLearningConfig(),
        torch.Generator().manual_seed(0),
    )["total"]
    torch.autograd.backward([loss])
    assert embedding.grad is not None
    assert seeds.grad is not None
    assert embedding.grad.isfinite().all()
    assert seeds.grad.isfinite().all()


def test_an_image_without_instances_takes_no_part() -> None:
    torch.manual_seed(0)
    embedding, seeds = torch.randn(2, 3, 4, 5), torch.randn(2, 4, 4, 5)
    labels = torch.zeros(2, 4, 5, dtype=torch.int64)
    labels[0, 1:3, 1:4] = 1
    config, generator = MetricLearningConfig(), torch.Generator()
    both = metric_learning_loss(embedding, seeds, labels, config, generator.manual_seed(0))
    one = metric_learning_loss(
        embedding[:1], seeds[:1], labels[:1], config, generator.manual_seed(0)
    )
    assert both["total"].item() == pytest.approx(one["total"].item())


def over_the_batch(
    embedding: Tensor, labels: Tensor, config: MetricLearningConfig, generator: torch.Generator
) -> Tensor:
    """Write the pair loss out over all pairs of the batch, those across images weighed 0."""
    segments = segment(embedding, labels)
    chosen = sample(segments.index, config.samples, generator)
    pixels, index = segments.pixels[chosen], segments.index[chosen]
    batch, most = segments.counts.shape
    image = torch.div(index, most, rounding_mode="floor")
    between = (pixels[:, None] - pixels).square().sum(2).clamp_min(1e-6)
    alike = math.log(2) - functional.softplus(between)
    unlike = torch.log1p(-torch.exp(-between)) - torch.log1p(torch.exp(-between))
    drawn = torch.bincount(index, minlength=batch * most)[index]
    weight = (image[:, None] == image) / (drawn[:, None] * drawn).to(between.dtype)
    weight = weight * (1 - torch.eye(len(index), dtype=weight.dtype))
    rows = (weight * torch.where(index[:, None] == index, -alike, -unlike)).sum(1)
    sums = rows.new_zeros(batch).index_add(0, image, rows)
    weights = rows.new_zeros(batch).index_add(0, image, weight.sum(1))
    return (sums / weights.clamp_min(1e-12)).sum() / segments.valid.any(1).sum()


def test_pairs_of_one_image_at_a_time_cost_what_all_of_the_batch_cost() -> None:
    embedding, labels = three_images(3)
    config, generator = MetricLearningConfig(samples=9), torch.Generator()
    seeds = torch.zeros(3, 4, 8, 8, dtype=torch.float64)
    expected = over_the_batch(embedding, labels, config, generator.manual_seed(0))
    generator.manual_seed(0)
    found = metric_learning_loss(embedding, seeds, labels, config, generator)["pairs"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, embedding), gradient(expected, embedding))


def test_pairs_take_no_more_memory_in_a_larger_batch() -> None:
    embedding, labels = three_images(3)
    seeds = torch.zeros(4, 4, 8, 8, dtype=torch.float64)
    config, generator = MetricLearningConfig(), torch.Generator()

    def kept(batch: int) -> int:
        vectors, ids = embedding[:1].expand(batch, -1, -1, -1), labels[:1].expand(batch, -1, -1)
        return most_kept(
            lambda: metric_learning_loss(vectors, seeds[:batch], ids, config, generator)
        )

    assert kept(4) == kept(1) == 3 * 64**2
