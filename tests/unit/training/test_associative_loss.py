"""Associative embedding against worked numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tests.unit.training.conftest import gradient, most_kept, three_images
from training.config.loss import AssociativeConfig
from training.losses.associative import associative_loss
from training.losses.segments import sample, segment

TWO = ([1.0, 1.2, 2.0, 2.4, 2.2], [1, 1, 2, 2, 2])
THREE = ([0.0, 1.0, 3.0], [1, 2, 3])
EVEN = ([1.0, 1.2, 2.0, 2.2], [1, 1, 2, 2])


def terms(example: tuple[list[float], list[int]], **changes: Any) -> dict[str, Tensor]:
    tags, ids = example
    return associative_loss(
        torch.tensor(tags, dtype=torch.float64).view(1, 1, 1, -1),
        torch.tensor(ids).view(1, 1, -1),
        AssociativeConfig(**changes),
        torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize(
    ("example", "changes", "pull", "push"),
    [
        (TWO, {}, 0.0183333333, 0.1490986397),
        (TWO, {"mode": "paper"}, 0.05, 0.7730372133),
        (TWO, {"mode": "paper", "sigma": 0.5**0.5}, 0.05, 0.6490986397),
        (THREE, {}, 0.0, 0.0643864150),
        # The raw sums, over 8 ordered pairs each.
        (EVEN, {"mode": "pairwise"}, 0.16 / 8, 4.8519252249 / 8),
        (([1.0, 3.0], [1, 1]), {}, 1.0, 0.0),
        (([1.0, 3.0], [0, -1]), {}, 0.0, 0.0),
    ],
)
def test_worked_examples_have_their_values(
    example: tuple[list[float], list[int]], changes: dict[str, Any], pull: float, push: float
) -> None:
    found = terms(example, **changes)
    assert found["pull"].item() == pytest.approx(pull, abs=1e-9)
    assert found["push"].item() == pytest.approx(push, abs=1e-9)
    assert found["total"].item() == pytest.approx(pull + push, abs=1e-9)


def test_no_more_pixels_than_asked_are_compared() -> None:
    found = terms(([0.0] * 50 + [9.0] * 50, [1] * 50 + [2] * 50), mode="pairwise", samples=4)
    assert found["pull"].item() == 0
    assert found["push"].item() == pytest.approx(0, abs=1e-9)


def test_equal_tags_do_not_separate() -> None:
    tags = torch.zeros(1, 1, 1, 4, dtype=torch.float64, requires_grad=True)
    ids = torch.tensor([[[1, 1, 2, 2]]])
    loss = associative_loss(tags, ids, AssociativeConfig(), torch.Generator())["total"]
    torch.autograd.backward([loss])
    assert tags.grad is not None
    assert tags.grad.count_nonzero() == 0


def over_the_batch(
    tags: Tensor, labels: Tensor, config: AssociativeConfig, generator: torch.Generator
) -> Tensor:
    """Write the pairwise form out over all pairs of the batch, those across images weighed 0."""
    segments = segment(tags, labels)
    chosen = sample(segments.index, config.samples, generator)
    pixels, index = segments.pixels[chosen], segments.index[chosen]
    batch, most = segments.counts.shape
    image = torch.div(index, most, rounding_mode="floor")
    same_image = image[:, None] == image
    same = index[:, None] == index
    between = (pixels[:, None] - pixels).square().sum(2)
    near = torch.exp(-between / (2 * config.sigma**2))
    total = pixels.new_zeros(())
    for values, where in ((between, same), (near, same_image & ~same)):
        rows, pairs = torch.where(where, values, 0).sum(1), where.sum(1)
        sums = rows.new_zeros(batch).index_add(0, image, rows)
        counts = pairs.new_zeros(batch).index_add(0, image, pairs)
        total = total + (sums / counts.clamp_min(1)).sum()
    return total / segments.valid.any(1).sum()


def test_pairs_of_one_image_at_a_time_cost_what_all_of_the_batch_cost() -> None:
    tags, labels = three_images(1)
    config, generator = AssociativeConfig(mode="pairwise", samples=9), torch.Generator()
    expected = over_the_batch(tags, labels, config, generator.manual_seed(0))
    found = associative_loss(tags, labels, config, generator.manual_seed(0))["total"]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(found, tags), gradient(expected, tags))


def test_pairs_take_no_more_memory_in_a_larger_batch() -> None:
    tags, labels = three_images(1)
    config, generator = AssociativeConfig(mode="pairwise"), torch.Generator()

    def kept(batch: int) -> int:
        images = tags[:1].expand(batch, -1, -1, -1), labels[:1].expand(batch, -1, -1)
        return most_kept(lambda: associative_loss(*images, config, generator))

    assert kept(4) == kept(1) == 64**2


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValidationError, match="mode"):
        AssociativeConfig(mode="histogram")  # type: ignore[arg-type]
