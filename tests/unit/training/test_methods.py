"""Every method from one step of training to the decoder that serves it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from service import signature
from service.domain import Method
from tests.unit.training.conftest import Recorder
from training.config.experiment import Config
from training.config.loss import LossConfig
from training.data.synthetic import NucleiDataset
from training.loop import engine
from training.loop.batches import batch_at
from training.losses.targets import Targets
from training.losses.total import losses
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
