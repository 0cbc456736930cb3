"""Beginning with known weights changes nothing at first, for any network; what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.unit.training.test_networks import NETWORKS, SMALL, build, pictures, shake
from training.config.model import ModelConfig
from training.loop.encoder_weights import load_encoder
from training.loop.warm_start import WarmStartError, warm_start
from training.models.network import PixelNetwork
from training.models.serving import served


def write_folder(model: nn.Module, folder: Path) -> Path:
    """Write the tensors of a model folder's network, as export names and rounds them."""
    tensors = []
    for name, value in served(model, "discriminative").state_dict().items():
        array = value.numpy()
        if ".slope" in name or "_slope" in name:
            array = array.reshape(1, -1, 1, 1)
        if array.ndim > 1:
            tensors.append(numpy_helper.from_array(array.astype("float16"), f"{name}_half"))
        else:
            tensors.append(numpy_helper.from_array(array, name))
    graph = helper.make_graph([], "network", [], [], initializer=tensors)
    (folder / "1").mkdir(parents=True)
    onnx.save(helper.make_model(graph), folder / "1" / "model.onnx")
    return folder


@pytest.mark.parametrize("name", NETWORKS)
def test_the_outputs_are_those_of_the_model_folder(name: str, tmp_path: Path) -> None:
    trained = build(SMALL[name]).eval()
    shake(trained)
    torch.manual_seed(7)
    fresh = build_other(SMALL[name])
    images = pictures(2, 3, 64, 64)
    warm_start(fresh, write_folder(trained, tmp_path), images)
    other = pictures(1, 3, 32, 96).flip(3)
    expected = served(trained, "discriminative").network(other)
    for key, found in fresh.eval()(other).items():
        gap = (found - expected[key]).abs().max() / expected[key].abs().max()
        assert gap < 1e-4, key


def build_other(config: ModelConfig) -> PixelNetwork:
    """Build with other weights than `build` does."""
    model = build(config)
    for weight in model.parameters():
        nn.init.normal_(weight)
    return model


def test_the_batch_it_was_measured_on_gives_the_same_outputs_in_training(tmp_path: Path) -> None:
    trained = build(SMALL["unet"]).eval()
    shake(trained)
    fresh, images = build_other(SMALL["unet"]), pictures(2, 3, 64, 64)
    warm_start(fresh, write_folder(trained, tmp_path), images)
    torch.testing.assert_close(
        fresh.train()(images),
        served(trained, "discriminative").network(images),
        rtol=1e-3,
        atol=1e-3,
    )


def test_a_wider_network_answers_as_the_narrower_one_did(tmp_path: Path) -> None:
    narrow = replace(SMALL["unet"], widths=(4, 6, 8))
    trained = build(narrow).eval()
    shake(trained)
    wide = build_other(replace(narrow, widths=(4, 10, 24)))
    warm_start(wide, write_folder(trained, tmp_path), pictures(2, 3, 64, 64))
    other = pictures(1, 3, 32, 96).flip(3)
    expected = served(trained, "discriminative").network(other)
    for key, found in wide.eval()(other).items():
        torch.testing.assert_close(found, expected[key], rtol=1e-3, atol=1e-3)


def test_a_wider_network_keeps_its_style(tmp_path: Path) -> None:
    narrow = replace(SMALL["unet"], widths=(4, 6, 8), style=True)
    trained = build(narrow).eval()
    shake(trained)
    wide = build_other(replace(narrow, widths=(4, 10, 24)))
    warm_start(wide, write_folder(trained, tmp_path), pictures(2, 3, 64, 64))
    known, found = (net.get_parameter("style.squeeze.weight") for net in (trained, wide))
    for at, to, channels in ((0, 0, 4), (4, 4, 6), (10, 14, 8)):
        torch.testing.assert_close(
            found[:, to : to + channels], known[:, at : at + channels], rtol=1e-3, atol=1e-3
        )
    assert not found[:, 10:14].any()
    assert not found[:, 22:].any()


def test_the_new_channels_of_a_wider_network_learn(tmp_path: Path) -> None:
    narrow = replace(SMALL["unet"], widths=(4, 6))
    model = build(replace(narrow, widths=(4, 10)))
    warm_start(model, write_folder(build(narrow), tmp_path), pictures(2, 3, 64, 64))
    outputs = model.train()(pictures(2, 3, 64, 64))
    torch.autograd.backward([sum(value.square().sum() for value in outputs.values())])
    reading_new = model.get_parameter("reduce.0.weight").grad
    assert reading_new is not None
    assert reading_new[:, 6:].abs().amin() > 0


def test_a_style_that_the_model_folder_lacks_changes_nothing_at_first(tmp_path: Path) -> None:
    trained = build(SMALL["unet"]).eval()
    shake(trained)
    styled = build(replace(SMALL["unet"], style=True))
    warm_start(styled, write_folder(trained, tmp_path), pictures(2, 3, 64, 64))
    other = pictures(1, 3, 32, 96).flip(3)
    expected = served(trained, "discriminative").network(other)
    for key, found in styled.eval()(other).items():
        torch.testing.assert_close(found, expected[key], rtol=1e-3, atol=1e-3)


def test_an_embedding_of_fewer_dimensions_keeps_the_first(tmp_path: Path) -> None:
    trained = build(SMALL["unet"]).eval()
    shake(trained)
    flat = build(replace(SMALL["unet"], embedding_size=2))
    warm_start(flat, write_folder(trained, tmp_path), pictures(2, 3, 64, 64))
    other = pictures(1, 3, 32, 96).flip(3)
    expected = served(trained, "discriminative").network(other)["embedding"][:, :2]
    found = flat.eval()(other)["embedding"]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_a_network_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_folder(build(SMALL["unet"]), tmp_path)
    narrower = build(replace(SMALL["unet"], widths=(4, 6)))
    other = build(replace(SMALL["unet"], widths=(6, 8)))
    longer = build(replace(SMALL["unet"], embedding_size=9))
    deeper = build(replace(SMALL["unet"], widths=(4, 8, 8)))
    for model, words in (
        (narrower, r"down.1.0.0.weight has shape \(8, 4, 3, 3\)"),
        (other, r"down.0.0.0.weight has shape \(4, \d+, 3, 3\)"),
        (longer, r"embedding.project.weight has shape"),
    ):
        with pytest.raises(WarmStartError, match=words):
            warm_start(model, folder, pictures(1, 3, 32, 32))
    with pytest.raises(WarmStartError, match=r"network has no down\.2\.0\.0\.weight"):
        warm_start(deeper, folder, pictures(1, 3, 32, 32))


@pytest.mark.parametrize("content", [None, b"no network"])
def test_a_folder_without_a_network_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "model.onnx").write_bytes(content)
    with pytest.raises(WarmStartError, match=r"no network can be read from .*model\.onnx"):
        warm_start(build(SMALL["unet"]), tmp_path, pictures(1, 3, 32, 32))


def resnet_weights(widths: tuple[int, ...], blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """Name random tensors as timm and torchvision name those of a ResNet of that size."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (widths[0], 3, 7, 7)}
    norms = {"bn1": widths[0]}
    before = widths[0]
    for level, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for block in range(count):
            name = f"layer{level}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, before, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            norms |= {f"{name}.bn1": width, f"{name}.bn2": width}
            if before != width:
                shapes[f"{name}.downsample.0.weight"] = (width, before, 1, 1)
                norms[f"{name}.downsample.1"] = width
            before = width
    for name, width in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)
    shapes |= {"fc.weight": (10, before), "fc.bias": (10,)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_encoder_takes_the_weights_of_a_resnet_file(tmp_path: Path, suffix: str) -> None:
    config = SMALL["fpn"]
    weights = resnet_weights(config.widths, config.blocks)
    path = tmp_path / f"resnet{suffix}"
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    model = build(replace(config, coordinates="linear"))
    load_encoder(model, path)
    state = model.state_dict()
    assert torch.equal(state["encoder.stem.0.weight"][:, :3], weights["conv1.weight"])
    assert state["encoder.stem.0.weight"][:, 3:].count_nonzero() == 0
    for ours, theirs in (
        ("levels.1.0.first.0.weight", "layer2.0.conv1.weight"),
        ("levels.1.1.second.1.running_var", "layer2.1.bn2.running_var"),
        ("levels.1.0.shortcut.1.bias", "layer2.0.downsample.1.bias"),
        ("stem.1.running_mean", "bn1.running_mean"),
    ):
        assert torch.equal(state[f"encoder.{ours}"], weights[theirs])


def test_weights_of_another_resnet_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "resnet.pth"
    config = SMALL["fpn"]
    for widths, blocks, words in (
        ((4, 16), (1, 2), r"has \(16, 4, 3, 3\) for levels.1.0.first.0.weight"),
        ((4, 8), (1, 1), "has nothing for levels.1.1.first.0.weight"),
        ((4, 8), (1, 3), "also has levels.1.2.first.0.weight"),
    ):
        torch.save(resnet_weights(widths, blocks), path)
        with pytest.raises(WarmStartError, match=words):
            load_encoder(build(config), path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pth", None), ("a.pth", b"?"), ("a.safetensors", None), ("a.safetensors", b"?" * 20)],
)
def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WarmStartError, match=rf"no weights can be read from .*{name}"):
        load_encoder(build(SMALL["fpn"]), tmp_path / name)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(WarmStartError, match="no mapping of names to tensors"):
        load_encoder(build(SMALL["fpn"]), tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["unet", "fpn"])
def test_whoever_gives_a_checkpoint_is_told_to_give_the_model_folder(
    tmp_path: Path, name: str
) -> None:
    torch.save({"step": 3, "model": {}}, tmp_path / "best.pt")
    with pytest.raises(WarmStartError, match=r"best\.pt is .*; of a run, name the model folder"):
        load_encoder(build(SMALL[name]), tmp_path / "best.pt")


def test_encoder_weights_need_a_network_with_that_encoder(tmp_path: Path) -> None:
    with pytest.raises(WarmStartError, match=r"model\.network = 'fpn'"):
        load_encoder(build(SMALL["unet"]), tmp_path / "a.pth")
