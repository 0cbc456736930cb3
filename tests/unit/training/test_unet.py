"""The network: shapes, position channels, style."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from training.config.model import ModelConfig
from training.models.coordinates import (
    linear_coordinates,
    periodic_coordinates,
    pixel_index,
)
from training.models.serving import served
from training.models.style import Style
from training.models.unet import UNet


def pictures(*shape: int, low: int = 0, high: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, shape, generator=generator).float()


@pytest.mark.parametrize(
    ("config", "stride"),
    [
        (ModelConfig(widths=(4, 8), stem=2), 1),
        (ModelConfig(widths=(4, 8, 8), stem=4, embedding_stride=2, coordinates="none"), 2),
        (ModelConfig(widths=(4, 8), stem=1, coordinates="periodic", position_px=3.0), 1),
    ],
)
def test_outputs_have_the_sizes_that_the_configuration_promises(
    config: ModelConfig, stride: int
) -> None:
    height, width = 2 * config.size_multiple, 3 * config.size_multiple
    outputs = UNet(config, classes=2)(pictures(2, 3, height, width))
    assert outputs["embedding"].shape == (2, 8, height // stride, width // stride)
    assert outputs["foreground"].shape == (2, 2, height, width)
    assert outputs["embedding"].dtype == torch.float32


def test_embeddings_of_a_fresh_network_differ_between_pixels() -> None:
    outputs = UNet(ModelConfig(widths=(4, 8)))(pictures(1, 3, 32, 32))
    assert outputs["embedding"].std() > 0


def test_linear_coordinates_run_from_minus_one_to_one() -> None:
    row, column = linear_coordinates(torch.zeros(2, 3, 5, 9))[1]
    assert row[:, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert column[0, [0, 4, 8]].tolist() == [-1, 0, 1]


def test_linear_coordinates_of_a_single_pixel_are_finite() -> None:
    assert linear_coordinates(torch.zeros(1, 3, 1, 1)).isfinite().all()


def test_periodic_coordinates_do_not_change_when_the_image_is_padded() -> None:
    small = periodic_coordinates(torch.zeros(1, 3, 20, 30))
    large = periodic_coordinates(torch.zeros(1, 3, 40, 64))
    torch.testing.assert_close(large[:, :, :20, :30], small)


def test_position_is_added_in_units_at_the_middle_of_each_block() -> None:
    config = ModelConfig(widths=(4, 8), stem=2, embedding_stride=2, position_px=4.0)
    model = UNet(config)
    for parameter in model.embedding.project.parameters():
        torch.nn.init.zeros_(parameter)
    embedding = model(pictures(1, 3, 8, 8))["embedding"][0]
    assert embedding[0, :, 0].tolist() == [0.125, 0.625, 1.125, 1.625]
    assert embedding[1, 0].tolist() == [0.125, 0.625, 1.125, 1.625]
    assert embedding[2:].count_nonzero() == 0


def test_pixel_indices_count_rows_and_columns() -> None:
    row, column = pixel_index(torch.zeros(3, 2, 2, 3))
    assert row[0, 0].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert column[0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_the_served_network_answers_like_the_trained_one() -> None:
    model = UNet(ModelConfig(widths=(8, 12), stem=2))
    # A few steps in training mode, so that the running statistics are not those of a fresh network.
    for _ in range(3):
        model(pictures(4, 3, 32, 32))
    image = pictures(2, 3, 32, 32)
    expected = model.eval()(image)
    embedding, foreground = served(model, "discriminative")(image.permute(0, 2, 3, 1).byte())
    assert embedding.dtype == torch.float16
    torch.testing.assert_close(embedding.float(), expected["embedding"], atol=5e-3, rtol=5e-3)
    torch.testing.assert_close(foreground.float(), expected["foreground"], atol=5e-3, rtol=5e-3)
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in model.modules())


def test_a_style_carries_what_one_corner_is_like_to_all_others() -> None:
    config = ModelConfig(widths=(4, 8), stem=2, coordinates="none")
    image = pictures(1, 3, 128, 128)
    changed = image.clone()
    changed[:, :, :16, :16] = 255 - changed[:, :, :16, :16]
    for style, reaches in ((False, False), (True, True)):
        model = UNet(replace(config, style=style)).eval()
        model.normalise = nn.Identity()  # type: ignore[assignment]
        if model.style is not None:
            for shift in model.style.shifts.parameters():
                nn.init.normal_(shift)
        near, far = model(image)["foreground"], model(changed)["foreground"]
        assert ((near - far)[..., 96:, 96:].abs().mean().item() > 0) is reaches


def test_a_fresh_style_shifts_nothing_and_learns_from_the_first_step() -> None:
    style = Style((2, 3), (4, 1))
    maps = [torch.rand(2, 2, 8, 8), torch.rand(2, 3, 4, 4)]
    shifts = style(maps)
    assert [tuple(shift.shape) for shift in shifts] == [(2, 4, 1, 1), (2, 1, 1, 1)]
    assert all(not shift.any() for shift in shifts)
    torch.autograd.backward([sum(shift.sum() for shift in shifts)])
    gradients = [parameter.grad for parameter in style.shifts.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_a_style_does_not_depend_on_the_size_of_the_maps_or_of_their_values() -> None:
    style = Style((2, 3), (4,))
    for shift in style.shifts.parameters():
        nn.init.normal_(shift)
    maps = [torch.rand(1, 2, 8, 8), torch.rand(1, 3, 4, 4)]
    larger = [7 * level.repeat(1, 1, 3, 2) for level in maps]
    torch.testing.assert_close(style(maps), style(larger))
