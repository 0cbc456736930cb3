"""Every method from one step of training to the decoder that serves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from service import signature
from service.domain import Method
from service.postprocess.spatial import decode_spatial
from tests.unit.training.conftest import Recorder
from training.config.experiment import Config
from training.config.loss import DiscriminativeConfig, LossConfig
from training.data.synthetic import NucleiDataset
from training.loop import engine
from training.loop.batches import batch_at
from training.losses.targets import Targets
from training.losses.total import losses, method_loss
from training.models.build import build_model
from training.scoring.decoding import recipe_of


def configured(tiny: Config, method: Method) -> Config:
    model = replace(tiny.model, embedding_size=2, position_px=0.0)
    optim = replace(tiny.optim, steps=2, validate_every_steps=2, learning_rate=1e-3)
    decode = replace(tiny.decode, settings={"min_pixels": 8})
    return replace(tiny, loss=LossConfig(method=method), model=model, optim=optim, decode=decode)


@pytest.mark.parametrize("method", get_args(Method))
def test_a_method_trains_and_is_read_by_its_decoder(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path, method: Method
) -> None:
    recorder = Recorder()
    engine.train(configured(tiny, method), train_set, val_set, tmp_path, recorder)
    assert len(recorder.totals) == 2
    assert 0 <= recorder.scores[0].mean_ap <= 1


@pytest.mark.parametrize("method", get_args(Method))
def test_a_network_gives_the_tensors_of_its_method(tiny: Config, method: Method) -> None:
    outputs = build_model(configured(tiny, method))(torch.zeros(1, 3, 16, 16))
    assert set(outputs) == {spec.name for spec in signature.OUTPUTS[method]}


@pytest.mark.parametrize("method", get_args(Method))
def test_the_loss_falls_when_its_gradient_is_followed(tiny: Config, method: Method) -> None:
    model = build_model(configured(tiny, method))
    config = configured(tiny, method).loss
    images, targets = batch_at(NucleiDataset(count=2, size=64, radius_px=8), tiny, 0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    totals = []
    for _ in range(12):
        optimizer.zero_grad()
        total = losses(model(images), targets, config)["total"]
        torch.autograd.backward([total])
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]


@pytest.mark.parametrize("method", get_args(Method))
def test_images_without_instances_reach_every_weight(tiny: Config, method: Method) -> None:
    # Processes that train together wait for the gradients of all.
    model, config = build_model(configured(tiny, method)), configured(tiny, method).loss
    targets = Targets(torch.zeros(2, 64, 64, dtype=torch.int64))
    total = losses(model(torch.full((2, 3, 64, 64), 9.0)), targets, config)["total"]
    torch.autograd.backward([total])
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("discriminative", {"bandwidth": 1.5, "min_pixels": 8}),
        ("spatial", {"unit_px": 64.0, "min_pixels": 8}),
        ("recurrent", {"min_pixels": 8}),
    ],
)
def test_decoder_settings_follow_from_the_loss(
    tiny: Config, method: Method, expected: dict[str, float]
) -> None:
    assert recipe_of(configured(tiny, method)).decoder == expected


def test_classes_are_added_each_with_its_own_embedding_loss(tiny: Config) -> None:
    labels = torch.tensor([[[1, 1, 2, 2], [0, 0, 3, 3]]])
    classes = torch.tensor([[[1, 1, 1, 1], [0, 0, 2, 2]]])
    generator = torch.Generator().manual_seed(0)
    outputs = {
        signature.EMBEDDING: torch.randn(1, 3, 2, 4, generator=generator),
        signature.FOREGROUND: torch.randn(1, 2, 2, 4, generator=generator),
    }
    both = losses(outputs, Targets(labels, classes), tiny.loss)["total"]
    each = [
        losses(
            outputs | {signature.FOREGROUND: outputs[signature.FOREGROUND][:, c : c + 1]},
            Targets(Targets(labels, classes).of_class(c)),
            tiny.loss,
        )["total"]
        for c in (0, 1)
    ]
    torch.testing.assert_close(both, each[0] + each[1])


def test_spatial_needs_an_embedding_of_offsets(tiny: Config) -> None:
    with pytest.raises(ValidationError, match="spatial needs 2"):
        replace(tiny, loss=LossConfig(method="spatial"))


def test_offsets_of_a_smaller_embedding_are_in_pixels_of_the_image() -> None:
    labels = torch.zeros(1, 96, 96, dtype=torch.int64)
    for number, (y, x) in enumerate([(0, 0), (0, 48), (48, 0), (48, 48)], start=1):
        labels[0, y + 4 : y + 44, x + 4 : x + 44] = number
    outputs = {
        signature.EMBEDDING: torch.zeros(1, 2, 48, 48, requires_grad=True),
        signature.SIGMA: torch.full((1, 2, 48, 48), 0.4, requires_grad=True),
        signature.SEEDINESS: torch.zeros(1, 1, 48, 48, requires_grad=True),
    }
    optimizer = torch.optim.Adam(outputs.values(), lr=0.05)
    config, generator = LossConfig(method="spatial"), torch.Generator()
    for _ in range(100):
        optimizer.zero_grad()
        total = method_loss(outputs, 0, labels, config, generator)["total"]
        torch.autograd.backward([total])
        optimizer.step()
    offsets, sigma, seeds = (
        value.detach().repeat_interleave(2, 2).repeat_interleave(2, 3)[0].numpy()
        for value in outputs.values()
    )
    unit_px = config.spatial.unit_px
    foreground = labels[0].numpy() > 0
    found = decode_spatial(offsets, foreground, sigma, seeds[0], unit_px=unit_px).labels
    pairs = np.unique(np.stack([labels[0].numpy(), found]).reshape(2, -1), axis=1)
    assert pairs.shape == (2, 5), "every square is one instance, and background is background"


def test_the_radius_of_pushing_is_in_pixels_of_the_image() -> None:
    labels = torch.zeros(1, 4, 32, dtype=torch.int64)
    labels[0, :, :8], labels[0, :, 18:] = 1, 2
    outputs = {signature.EMBEDDING: torch.zeros(1, 2, 2, 16)}
    found = [
        method_loss(
            outputs, 0, labels,
            LossConfig(discriminative=DiscriminativeConfig(push_radius_px=radius_px)),
            torch.Generator(),
        )["distance"].item()
        for radius_px in (9.0, 16.0)
    ]  # fmt: skip
    assert found == [0, 9], "ten pixels lie between them, which are five of the embedding"
