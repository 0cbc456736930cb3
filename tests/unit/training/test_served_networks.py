"""From training to the gateway's answer: every method, every network, several classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
import torch

from service.domain import Method
from tests.scenes import png_of, running_server
from tests.unit.training.conftest import TINY, Recorder, drawn
from training.config.data import DataConfig
from training.config.experiment import Config
from training.config.loss import LossConfig
from training.config.model import ModelConfig, NetworkName
from training.data.dataset import Dataset, Sample
from training.deployment import export
from training.loop import engine
from training.loop.batches import batch_at
from training.loop.warm_start import warm_start
from training.models.build import build_model
from training.models.network import PixelNetwork

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SMALL: dict[NetworkName, ModelConfig] = {
    "unet": ModelConfig(network="unet", widths=(8, 12), coordinates="none"),
    "enet": ModelConfig(network="enet", widths=(8, 12, 12), coordinates="periodic"),
    "erfnet": ModelConfig(network="erfnet", widths=(8, 12, 12), coordinates="linear"),
    "fpn": ModelConfig(network="fpn", widths=(12, 12), blocks=(1, 1), coordinates="none"),
}
PAIRS: dict[str, tuple[Method, NetworkName]] = {
    "classes": ("discriminative", "unet"),
    "associative": ("associative", "enet"),
    "metric_learning": ("metric_learning", "erfnet"),
    "recurrent": ("recurrent", "fpn"),
    "spatial": ("spatial", "unet"),
}
"""Models by name: every method and every network at least once, the first one of two classes."""

CLASSES = ("dim", "bright")


@dataclass(frozen=True)
class Discs:
    """Discs of two classes that differ in brightness."""

    count: int = 8

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = rng.integers(20, 30, (64, 64)).astype(np.uint8)
        labels, classes = np.zeros((64, 64), np.int32), np.zeros(5, np.int32)
        for number in range(1, 5):
            centre = (16 + 32 * ((number - 1) % 2), 16 + 32 * ((number - 1) // 2))
            disc = cv2.circle(np.zeros((64, 64), np.uint8), centre, 9, 1, -1) > 0
            # Both in every image: the network sees brightness relative to the brightest.
            classes[number] = number if number < 3 else rng.integers(1, 3)
            labels[disc] = number
            image[disc] = 90 if classes[number] == 1 else 220
        return Sample(f"discs-{index}", image, labels, classes)


def configured(name: str) -> Config:
    """Give an experiment of 60 steps."""
    method, network = PAIRS[name]
    size, position_px = (2, 0.0) if method == "spatial" else (3, 4.0)
    seeds = {"min_seed": 0.3} if method == "spatial" else {}
    return replace(
        TINY,
        name=name,
        data=DataConfig(kind="coco", classes=CLASSES if name == "classes" else ()),
        model=replace(SMALL[network], embedding_size=size, position_px=position_px),
        loss=LossConfig(method=method),
        optim=replace(TINY.optim, steps=60, validate_every_steps=60, ema=0.5),
        # So short a run gives no seed that is sure of itself.
        decode=replace(TINY.decode, settings={"min_pixels": 8} | seeds),
    )


class Workshop:
    """Trains and exports each model when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.runs, self.repository = folder / "runs", folder / "repository"
        self._made: dict[str, PixelNetwork] = {}

    def model(self, name: str) -> PixelNetwork:
        """Return the network, exported and compared with PyTorch."""
        if name not in self._made:
            config = configured(name)
            data: Dataset = Discs() if name == "classes" else drawn(4, seed=0)
            state = engine.train(config, data, data, self.runs / name, Recorder())
            model = build_model(config)
            model.load_state_dict(state.average)
            export.export(model, config, self.repository, card="")
            self._made[name] = model
        return self._made[name]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Where the models are made."""
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize("name", PAIRS)
def test_training_can_begin_with_what_was_exported(workshop: Workshop, name: str) -> None:
    model, config = workshop.model(name), configured(name)
    fresh = build_model(replace(config, seed=5))
    images, _ = batch_at(drawn(4, seed=0), config, 0)
    warm_start(fresh, workshop.repository / name, images)
    with torch.inference_mode():
        found, expected = fresh.eval()(images), model.eval()(images)
    for key, wanted in expected.items():
        assert (found[key] - wanted).abs().max() < 2e-2 * wanted.abs().max(), key


@pytest.fixture(scope="module")
def address(workshop: Workshop) -> Iterator[str]:
    """A gateway that serves them; it is ready once every golden answer came out."""
    for name in PAIRS:
        workshop.model(name)
    with running_server(workshop.repository, default_model="classes") as found:
        yield found


def ask(address: str, model: str, image: bytes) -> Any:
    reply = httpx2.post(
        f"{address}/segment?model={model}", content=image, headers={"Content-Type": "image/png"}
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("name", PAIRS)
def test_the_gateway_serves_what_was_trained(address: str, workshop: Workshop, name: str) -> None:
    folder = workshop.repository / name
    golden = json.loads((folder / "golden.json").read_text())["instances"]
    answer = ask(address, name, (folder / "golden.png").read_bytes())
    assert answer["model"]["method"] == PAIRS[name][0]
    assert [entry["area"] for entry in answer["instances"]] == [entry["area"] for entry in golden]


def test_every_instance_is_named_after_its_class(address: str) -> None:
    right = total = 0
    for index in range(20, 24):
        sample = Discs()[index]
        assert sample.classes is not None
        for instance in ask(address, "classes", png_of(sample.image))["instances"]:
            x, y = instance["centroid"]
            wanted = int(sample.classes[sample.labels[round(y), round(x)]])
            category = instance["category"]
            assert CLASSES[category["id"] - 1] == category["name"]
            right += category["id"] == wanted
            total += 1
    assert total >= 12
    assert right >= 0.9 * total


def test_the_model_says_which_classes_it_tells_apart(address: str) -> None:
    model = httpx2.get(f"{address}/models/classes").json()
    assert [category["name"] for category in model["classes"]] == list(CLASSES)
