"""What every network promises: sizes, learning, folding, the papers' numbers of parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from training.config.model import ModelConfig, NetworkName
from training.models.build import build_network
from training.models.network import PixelNetwork
from training.models.serving import served

SMALL = {
    "unet": ModelConfig(network="unet", widths=(4, 8), coordinates="periodic", embedding_size=3),
    "enet": ModelConfig(network="enet", widths=(4, 8, 8), coordinates="linear", embedding_size=3),
    "erfnet": ModelConfig(network="erfnet", widths=(4, 8, 8), embedding_size=3),
    "fpn": ModelConfig(network="fpn", widths=(4, 8), blocks=(1, 2), embedding_size=3),
    "unet with style": ModelConfig(network="unet", widths=(4, 8), embedding_size=3, style=True),
}
NETWORKS = tuple(SMALL)


def test_every_network_is_among_those_tested() -> None:
    assert {config.network for config in SMALL.values()} == set(get_args(NetworkName))


def build(config: ModelConfig, classes: int = 1) -> PixelNetwork:
    torch.manual_seed(0)
    return build_network(config, method="discriminative", classes=classes)


def shake(model: nn.Module) -> None:
    """Give normalisations and slopes values as after training: a fresh one hides what is lost."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                assert isinstance(tensor, Tensor)
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        if isinstance(module, nn.PReLU):
            module.weight.data.copy_(torch.rand(module.weight.shape, generator=generator))


def pictures(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, generator=generator).float()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("stride", [1, 2])
def test_outputs_have_the_promised_sizes_at_any_multiple(name: str, stride: int) -> None:
    config = replace(SMALL[name], embedding_stride=stride)
    model = build(config, classes=2)
    for rows, columns in ((1, 1), (2, 3)):
        height, width = rows * config.size_multiple, columns * config.size_multiple
        outputs = model.eval()(pictures(2, 3, height, width))
        assert outputs["embedding"].shape == (2, 3, height // stride, width // stride)
        assert outputs["foreground"].shape == (2, 2, height, width)
        assert {output.dtype for output in outputs.values()} == {torch.float32}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_takes_part(name: str) -> None:
    model = build(SMALL[name])
    outputs = model(pictures(2, 3, 64, 64))
    total = sum(output.square().mean() for output in outputs.values())
    assert isinstance(total, Tensor)
    torch.autograd.backward([total])
    idle = [key for key, weight in model.named_parameters() if weight.grad is None]
    assert idle == []


@pytest.mark.parametrize("name", NETWORKS)
def test_serving_folds_every_normalisation_and_changes_nothing(name: str) -> None:
    model = build(SMALL[name]).eval()
    shake(model)
    for weight in model.parameters():
        weight.data.copy_(weight.half().float())
    image = pictures(1, 3, 64, 64)
    network = served(model, "discriminative")
    left = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    embedding, _ = network(image.permute(0, 2, 3, 1).to(torch.uint8))
    expected = model(image)["embedding"]
    assert left == []
    assert (embedding - expected).abs().max() < 5e-3 * expected.abs().max()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("enet", 0.37), ("erfnet", 2.06), ("fpn", 11.18)],
    ids=["ENet, Table 3", "ERFNet, section III", "ResNet-18 without its classifier"],
)
def test_a_network_of_the_papers_widths_has_the_papers_number_of_parameters(
    name: NetworkName, millions: float
) -> None:
    model = build(ModelConfig(network=name, coordinates="none"))
    counted = getattr(model, "encoder", model) if name == "fpn" else model
    count = sum(weight.numel() for weight in counted.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)


def test_a_network_sees_as_far_as_its_dilations_reach() -> None:
    model = build(SMALL["erfnet"]).eval()
    shake(model)
    image = pictures(1, 3, 128, 128)
    changed = image.clone()
    changed[:, :, :, -8:] = 255 - changed[:, :, :, -8:]
    model.normalise = nn.Identity()  # type: ignore[assignment]
    near, far = model(image)["foreground"], model(changed)["foreground"]
    reached = (near - far).abs().amax(dim=(0, 1, 2)).nonzero().min()
    assert reached < 16


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": "vgg"}, "'unet', 'enet', 'erfnet' or 'fpn'"),
        ({"network": "enet", "widths": (16, 64)}, "enet takes three"),
        ({"network": "erfnet", "widths": (3, 8, 8)}, "the first above 3"),
        ({"network": "enet", "stem": 4}, "enet has 2, not 4"),
        ({"network": "enet", "style": True}, "model.style: enet has no such part"),
        ({"network": "fpn", "stem": 2}, "fpn has 4, not 2"),
        ({"network": "fpn", "widths": (8, 16)}, "2 are needed, as many as model.widths"),
        ({"network": "fpn", "blocks": (2, 0, 2, 2)}, "greater than or equal to 1"),
    ],
)
def test_a_shape_that_a_network_does_not_have_is_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelConfig(**settings)  # type: ignore[arg-type]


def test_a_network_fills_in_the_widths_that_are_left_out() -> None:
    config = ModelConfig(network="erfnet")
    assert (config.widths, config.stem, config.size_multiple) == ((16, 64, 128), 2, 8)
