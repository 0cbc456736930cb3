"""Means and hinged distances of instances: gradients in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.losses import gather
from training.losses.pull import pull


def scattered(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Twenty pixels of five instances, one of which has none."""
    generator = torch.Generator().manual_seed(4)
    pixels = 2 * torch.randn(20, 3, generator=generator, dtype=torch.float64)
    index = torch.randint(0, 4, (20,), generator=generator)
    return pixels.to(dtype), index, torch.bincount(index, minlength=5)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("piece", [6, 1 << 18])
def test_gradients_agree_with_finite_differences(
    norm: int, margin: float, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "_PIECE", piece)
    pixels, index, counts = scattered()
    assert torch.autograd.gradcheck(
        lambda x: pull(x, index, counts, margin=margin, norm=norm), (pixels.requires_grad_(),)
    )


def test_means_and_totals_are_those_of_the_instances() -> None:
    pixels = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 2.0]])
    means, totals = pull(
        pixels, torch.tensor([0, 0, 2]), torch.tensor([2, 0, 1]), margin=0.25, norm=2
    )
    assert means.tolist() == [[1, 0], [0, 0], [1, 2]]
    assert totals.tolist() == [1.125, 0, 0]


def test_pixels_that_equal_their_mean_have_no_gradient() -> None:
    pixels = torch.ones(4, 2, requires_grad=True)
    _, totals = pull(
        pixels, torch.zeros(4, dtype=torch.int64), torch.tensor([4]), margin=0.0, norm=2
    )
    (gradient,) = torch.autograd.grad(totals.sum(), pixels)
    assert torch.equal(gradient, torch.zeros(4, 2))


def test_half_precision_is_summed_in_single() -> None:
    pixels = torch.full((4096, 1), 1.0, dtype=torch.bfloat16, requires_grad=True)
    index, counts = torch.zeros(4096, dtype=torch.int64), torch.tensor([4096])
    means, totals = pull(pixels, index, counts, margin=0.5, norm=2)
    # A sum of ones in bfloat16 stops at 256.
    assert means.item() == 1
    (gradient,) = torch.autograd.grad(means.sum() + totals.sum(), pixels)
    assert gradient.dtype == torch.bfloat16


def test_the_same_pixels_give_the_same_bits() -> None:
    pixels, index, counts = scattered(torch.float32)
    torch.use_deterministic_algorithms(mode=True)
    try:
        first = pull(pixels, index, counts, margin=0.5, norm=2)
        again = pull(pixels, index, counts, margin=0.5, norm=2)
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
