"""The discriminative loss against the paper's equations, written out as loops, and by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from training.config.loss import DiscriminativeConfig
from training.losses.discriminative import discriminative_loss

PAPER = DiscriminativeConfig()


def line(points: list[tuple[float, ...]], ids: list[int]) -> tuple[Tensor, Tensor]:
    """Lay points out as an image of one row: (1, D, 1, N) and (1, 1, N)."""
    embedding = torch.tensor(points, dtype=torch.float64).T.reshape(1, -1, 1, len(points))
    return embedding, torch.tensor([[ids]])


A1 = line([(0, 0), (2, 0), (1, 2), (1, 2)], [1, 1, 2, 2])
A2 = line([(0, 0), (2, 0), (1, 0), (1, 2)], [1, 1, 1, 2])
A3 = line([(0, 0), (2, 0), (1, 2), (1, 2), (9, 9)], [1, 1, 2, 2, 0])
A4 = line([(0, 0), (2, 0)], [1, 1])
A5 = line([(-0.5,), (0.5,), (2.5,), (3.5,)], [1, 1, 2, 2])
A6 = line([(0, 0)] * 4, [1, 1, 2, 2])


def loop_loss(embedding: Tensor, labels: Tensor, config: DiscriminativeConfig) -> Tensor:
    """Transcribe equations 1 to 4: loops over images, instances and pairs."""
    per_image = []
    for vectors, truth in zip(embedding, labels, strict=True):
        ids = [int(i) for i in truth.unique() if i > 0]
        if not ids:
            continue
        pixels = [vectors[:, truth == i].T for i in ids]
        means = [p.mean(0) for p in pixels]
        count = len(ids)
        pull = vectors.new_zeros(())
        for p, mean in zip(pixels, means, strict=True):
            gaps = [(mean - x).norm(p=config.norm) - config.delta_var for x in p]
            pull = pull + sum(g.clamp_min(0) ** 2 for g in gaps) / len(p) / count
        push = vectors.new_zeros(())
        for a in range(count):
            for b in range(count):
                if a != b:
                    gap = 2 * config.delta_dist - (means[a] - means[b]).norm(p=config.norm)
                    push = push + gap.clamp_min(0) ** 2 / (count * (count - 1))
        length = torch.stack([m.norm(p=config.norm) for m in means]).mean()
        per_image.append(config.alpha * pull + config.beta * push + config.gamma * length)
    return torch.stack(per_image).mean() if per_image else embedding.sum() * 0


def total(example: tuple[Tensor, Tensor], **changes: Any) -> float:
    return float(discriminative_loss(*example, DiscriminativeConfig(**changes))["total"])


@pytest.mark.parametrize(
    ("example", "changes", "expected"),
    [
        (A1, {}, 1.1266180340),
        (A1, {"norm": 1}, 1.127),
        (A1, {"instance_reduction": "sum", "gamma": 0.0}, 1.25),
        (A1, {"beta": 0.5}, 0.6266180340),
        (A2, {}, 1.0849513673),
        (A2, {"variance_reduction": "pixel", "beta": 0.0, "gamma": 0.0}, 0.125),
        (A3, {}, 1.1266180340),
        (A3, {"background": "cluster"}, 0.4219879967),
        (A4, {}, 0.251),
        (A5, {}, 0.0015),
        (A6, {}, 9.0),
    ],
)
def test_worked_examples_have_their_values(
    example: tuple[Tensor, Tensor], changes: dict[str, Any], expected: float
) -> None:
    assert total(example, **changes) == pytest.approx(expected, abs=1e-9)


def test_first_example_has_the_gradient_worked_out_by_hand() -> None:
    embedding, labels = A1
    leaf = embedding.clone().requires_grad_()
    torch.autograd.backward([discriminative_loss(leaf, labels, PAPER)["total"]])
    assert leaf.grad is not None
    expected = torch.tensor(
        [
            [-0.24975, 1.0],
            [0.25025, 1.0],
            [0.000111803, -0.999776393],
            [0.000111803, -0.999776393],
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(leaf.grad[0, :, 0].T, expected, atol=1e-8, rtol=0)


def test_equal_vectors_have_gradient_zero_rather_than_nan() -> None:
    leaf = A6[0].clone().requires_grad_()
    torch.autograd.backward([discriminative_loss(leaf, A6[1], PAPER)["total"]])
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


def ragged_batch(seed: int) -> tuple[Tensor, Tensor]:
    """Images with different instance counts, gaps in the ids, ignored pixels, one image empty."""
    generator = torch.Generator().manual_seed(seed)
    embedding = 2 * torch.randn(4, 3, 6, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, 9, (4, 6, 7), generator=generator)
    labels[0] = 0
    labels[1] = labels[1].clamp_max(2)
    labels[2][labels[2] % 2 == 0] = 0
    labels[3][labels[3] > 3] *= 1000
    return embedding, labels


@given(seed=st.integers(0, 2**32), norm=st.sampled_from([1, 2]))
@settings(max_examples=15, deadline=None)
def test_segment_sums_equal_the_equations_written_as_loops(seed: int, norm: Literal[1, 2]) -> None:
    embedding, labels = ragged_batch(seed)
    config = DiscriminativeConfig(norm=norm)
    fast, slow = embedding.clone().requires_grad_(), embedding.clone().requires_grad_()
    value = discriminative_loss(fast, labels, config)["total"]
    expected = loop_loss(slow, labels, config)
    torch.autograd.backward([value])
    torch.autograd.backward([expected])
    torch.testing.assert_close(value, expected, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(fast.grad, slow.grad, atol=1e-9, rtol=1e-9)


def test_gradient_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    embedding = 3 * torch.randn(1, 2, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.tensor([[[1, 1, 2, 2], [1, 3, 3, 0], [0, 3, -1, 2]]])
    leaf = embedding.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: discriminative_loss(x, labels, PAPER)["total"], (leaf,)
    )


def rotation(embedding: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    square = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    return torch.einsum("de,behw->bdhw", torch.linalg.qr(square).Q, embedding)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda x, y: (x, torch.where(y > 0, 10_007 - y, y)), id="permuted ids"),
        pytest.param(
            lambda x, y: (
                x.repeat_interleave(2, 2).repeat_interleave(2, 3),
                y.repeat_interleave(2, 1).repeat_interleave(2, 2),
            ),
            id="pixels doubled",
        ),
        pytest.param(lambda x, y: (rotation(x), y), id="rotated space"),
        pytest.param(lambda x, y: (x.flip(2), y.flip(1)), id="flipped image"),
    ],
)
def test_value_does_not_change_under(
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> None:
    embedding, labels = ragged_batch(5)
    before = discriminative_loss(embedding, labels, PAPER)["total"]
    after = discriminative_loss(*change(embedding, labels), PAPER)["total"]
    torch.testing.assert_close(after, before, atol=1e-10, rtol=1e-10)


def test_pull_and_push_do_not_change_when_the_space_is_shifted() -> None:
    embedding, labels = ragged_batch(6)
    before = discriminative_loss(embedding, labels, PAPER)
    after = discriminative_loss(embedding + 100, labels, PAPER)
    torch.testing.assert_close(after["variance"], before["variance"], atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(after["distance"], before["distance"], atol=1e-9, rtol=1e-9)


def test_empty_images_do_not_dilute_the_loss() -> None:
    embedding, labels = A1
    with_empty = torch.cat([embedding, embedding]), torch.cat([labels, torch.zeros_like(labels)])
    assert total(with_empty) == pytest.approx(total(A1), abs=1e-12)


def test_a_batch_without_instances_gives_zero_that_still_has_a_gradient() -> None:
    embedding = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = discriminative_loss(embedding, torch.zeros(2, 4, 4, dtype=torch.int64), PAPER)["total"]
    torch.autograd.backward([loss])
    assert loss.item() == 0
    assert embedding.grad is not None
    assert embedding.grad.count_nonzero() == 0


def test_a_single_pixel_is_an_instance_of_its_own() -> None:
    terms = discriminative_loss(*line([(0, 0), (1, 0)], [1, 2]), PAPER)
    assert terms["variance"].item() == 0
    assert terms["distance"].item() == pytest.approx(4.0)


def test_instances_beyond_the_push_radius_do_not_repel() -> None:
    example = line([(0, 0)] * 9, [1, 1, 0, 2, 2, 0, 0, 0, 3])
    assert total(example, gamma=0.0, push_radius_px=3) == pytest.approx(9.0)
    apart = line([(0, 0)] * 7, [1, 0, 0, 0, 0, 0, 2])
    assert total(apart, gamma=0.0, push_radius_px=6) == 0
    assert total(apart, gamma=0.0, push_radius_px=7) == pytest.approx(9.0)


def test_labels_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        discriminative_loss(A1[0], torch.ones(1, 2, 2, dtype=torch.int64), PAPER)


def test_margins_that_cannot_separate_are_refused() -> None:
    with pytest.raises(ValidationError, match="delta_dist"):
        DiscriminativeConfig(delta_var=1.0, delta_dist=1.0)


def voronoi(regions: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    centres = side * torch.rand(regions, 2, generator=generator)
    grid = torch.stack(
        torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"), -1
    ).float()
    nearest = torch.cdist(grid.reshape(-1, 2), centres).argmin(1)
    return (nearest + 1).reshape(1, side, side)


@pytest.mark.parametrize("dimensions", [2, 8])
def test_free_vectors_converge_so_that_nearest_means_recover_every_pixel(dimensions: int) -> None:
    labels = voronoi(15, 48)
    generator = torch.Generator().manual_seed(dimensions)
    vectors = torch.randn(1, dimensions, 48, 48, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss = discriminative_loss(vectors, labels, PAPER)["total"]
        torch.autograd.backward([loss])
        optimizer.step()
    pixels = vectors.detach()[0].flatten(1).T
    ids = labels.flatten()
    means = torch.stack([pixels[ids == i].mean(0) for i in range(1, 16)])
    assert loss.item() < 0.05
    assert torch.equal(torch.cdist(pixels, means).argmin(1) + 1, ids)


PEAK = """
import resource
import torch
from training.config.loss import DiscriminativeConfig
from training.losses.discriminative import discriminative_loss

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

columns = torch.arange(512) // 52
labels = (columns[:, None] * 10 + columns[None, :] + 1).expand(8, 512, 512).contiguous()
assert labels.unique().numel() == 100
small = torch.randn(1, 16, 8, 8, requires_grad=True)
discriminative_loss(small, labels[:1, :8, :8], DiscriminativeConfig())["total"].backward()
embedding = torch.randn(8, 16, 512, 512, requires_grad=True)
embedding.grad = torch.zeros_like(embedding)
before = peak()
discriminative_loss(embedding, labels, DiscriminativeConfig())["total"].backward()
print(peak() - before)
"""


def test_a_large_batch_needs_less_than_a_gibibyte_beyond_its_input_and_gradient() -> None:
    # In a process of its own: the peak of this one was set by other tests.
    answer = subprocess.run(
        [sys.executable, "-c", PEAK], check=True, capture_output=True, text=True
    )
    assert int(answer.stdout) < 2**30
