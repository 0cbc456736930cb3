"""Pixels taken out of maps: values, gradients, memory formats, pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training.losses import gather
from training.losses.gather import gather_pixels


def maps_of(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, 5, 6, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))


CHOICES = {
    "some": torch.tensor([0, 3, 41, 42, 83, 100, 125]),
    "all of an image": torch.arange(42, 90),
    "all": torch.arange(126),
    "none": torch.arange(0),
}


def plainly(maps: Tensor, where: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[where]


@pytest.fixture(params=[1 << 18, 20])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_PIECE", request.param)


@pytest.mark.parametrize("where", CHOICES.values(), ids=CHOICES.keys())
@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(lambda x: x, id="channels first"),
        pytest.param(lambda x: x.contiguous(memory_format=torch.channels_last), id="channels last"),
        pytest.param(lambda x: x[:, 1:3, :5], id="a part"),
        pytest.param(lambda x: x[:1].expand(3, -1, -1, -1), id="expanded"),
    ],
)
@pytest.mark.usefixtures("_pieces")
def test_rows_and_gradients_equal_those_of_indexing(
    where: Tensor, layout: Callable[[Tensor], Tensor]
) -> None:
    own, other = maps_of().requires_grad_(), maps_of().requires_grad_()
    kept = where[where < layout(own)[:, 0].numel()]
    rows, expected = gather_pixels(layout(own), kept), plainly(layout(other), kept)
    assert torch.equal(rows, expected)
    weights = torch.arange(rows.numel(), dtype=rows.dtype).view_as(rows)
    torch.autograd.backward([(rows * weights).sum(), (expected * weights).sum()])
    torch.testing.assert_close(own.grad, other.grad)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_has_the_layout_of_the_maps(memory_format: torch.memory_format) -> None:
    maps = maps_of(torch.bfloat16).contiguous(memory_format=memory_format).requires_grad_()
    (gradient,) = torch.autograd.grad(gather_pixels(maps, CHOICES["some"]).sum(), maps)
    assert gradient.is_contiguous(memory_format=memory_format)
    assert gradient.dtype == torch.bfloat16


def test_a_gpu_takes_all_rows_at_once() -> None:
    assert gather.piece_rows(torch.empty(0, device="meta"), 16) >= 1 << 20
    assert gather.piece_rows(torch.empty(0), 16) == 1 << 14
