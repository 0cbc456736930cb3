"""Several classes from the files to the evaluated answer, in the layout of Cityscapes."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.backends.model_config import model_from_config, parse_config
from service.postprocess.extract import extract
from training.cli import main
from training.commands.opening import data_settings, open_scored
from training.config.checks import ConfigError
from training.config.data import DataConfig
from training.config.experiment import Config
from training.config.read import load
from training.data.opening import open_datasets
from training.data.synthetic import NucleiDataset
from training.deployment.export import open_artefact
from training.report.card import write_card
from training.scoring.decoding import recipe_of
from training.scoring.evaluation import score_answer

CONFIG = """
name = "street"
[data]
kind = "cityscapes"
classes = ["car", "person"]
[augment]
crop = 64
turn = false
[model]
widths = [8, 12]
embedding_size = 3
coordinates = "none"
position_px = 4.0
[optim]
batch = 4
steps = 40
warmup_steps = 2
learning_rate = 2e-2
ema = 0.5
validate_every_s = 0
validate_every_steps = 20
[decode.settings]
bandwidth = 1.5
min_pixels = 8
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streets of bright cars (even ids) and dark persons; a model trained on them and exported."""
    root = tmp_path_factory.mktemp("street")
    (root / "street.toml").write_text(CONFIG)
    drawn = NucleiDataset(count=6, seed=3, size=64, min_objects=4, max_objects=6, radius_px=8)
    for index in range(6):
        split = "train" if index < 4 else "val"
        labels = drawn[index].labels
        kinds = np.where(labels % 2 == 0, 26, 24)
        codes = np.where(labels > 0, 1000 * kinds + labels, 7).astype(np.uint16)
        image = np.where(labels == 0, 60, np.where(labels % 2 == 0, 220, 5)).astype(np.uint8)
        for kind, pixels, end in (
            ("leftImg8bit", image, "leftImg8bit"), ("gtFine", codes, "gtFine_instanceIds"),
        ):  # fmt: skip
            folder = root / kind / split / "ulm"
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"ulm_{index}_{end}.png"), pixels)
    assert run(root, "train @/street.toml --data @ --runs @/runs") == 0
    assert run(root, "export @/runs/street/best.pt --repository @/models") == 0
    return root


def run(root: Path, command: str) -> int:
    return main([*command.replace("@", str(root)).split(), "--threads", "1"])


def test_the_recipe_names_the_classes_in_order(place: Path) -> None:
    config = parse_config((place / "models/street/config.pbtxt").read_text())
    classes = model_from_config(config, "1").recipe.classes
    assert [(c.id, c.name) for c in classes] == [(1, "car"), (2, "person")]


def test_answers_carry_the_category_of_what_they_cover(place: Path) -> None:
    artefact = open_artefact(place / "models/street")
    _, val = open_datasets(load(place / "street.toml"), place)
    sample = val[0]
    found = extract(artefact.predict(sample.image), artefact.recipe, sample.labels.shape)
    assert {instance.category.name for instance in found.instances} == {"car", "person"}
    at = np.array([0, *(instance.category.id for instance in found.instances)])[found.labels]
    both = (at > 0) & (sample.labels > 0)
    assert (at == sample.classes_at(sample.labels))[both].mean() > 0.95
    assert score_answer(sample, found).fbd > 0.6


def test_a_served_model_is_evaluated_class_by_class(place: Path) -> None:
    assert (
        run(place, "evaluate @/models/street --data @ --layout cityscapes --split val --out @/e")
        == 0
    )
    record = json.loads((place / "e/val.json").read_text())
    assert record["images"] == 2
    assert record["fbd"] > 0.6


def test_a_class_without_an_instance_is_counted_by_name(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "inspect val --data @ --layout cityscapes --classes truck car --out @/sheet.png"
    assert run(place, command) == 0
    _, val = open_datasets(load(place / "street.toml"), place)
    cars = sum(int(np.count_nonzero(val[i].classes == 1)) for i in range(len(val)))
    assert cars > 0
    assert f"instances of each class: 0 truck, {cars} car\n" in capsys.readouterr().out


def test_a_folder_is_judged_on_what_its_experiment_learned(place: Path, tmp_path: Path) -> None:
    config = load(place / "street.toml", ['data.classes=["car"]', "data.resize=[32, 48]"])
    state = {"step": 1, "elapsed_s": 1.0, "parameters": 1}
    card = tmp_path / "MODEL_CARD.md"
    card.write_text(write_card(config, state=state, results=[]))
    options = Namespace(
        model=tmp_path, data=place, split="val", layout=None, labels=None, classes=None,
        allow_empty=False,
    )  # fmt: skip
    judged = open_scored(options, None, recipe_of(config))[0]
    learned = open_datasets(config, place)[1][0]
    assert judged.image.shape == (32, 48)
    np.testing.assert_array_equal(judged.labels, learned.labels)
    np.testing.assert_array_equal(judged.classes, learned.classes)
    card.write_text(card.read_text().replace('"cityscapes"', '"citiscapes"'))
    with pytest.raises(ConfigError, match=r"MODEL_CARD\.md: data\.kind: "):
        open_scored(options, None, recipe_of(config))
    card.unlink()
    options.layout = "cityscapes"
    assert open_scored(options, None, recipe_of(config))[0].labels.shape == (64, 64)


def test_the_names_of_an_experiment_with_one_class_is_its_category() -> None:
    assert Config(name="x", category="leaf").classes == ("leaf",)


def test_where_the_files_tell_no_classes_apart_all_instances_are_of_one() -> None:
    several = DataConfig(kind="coco", classes=("car", "person"))
    options = Namespace(layout="folder", labels=None, classes=None, allow_empty=False)
    assert data_settings(options, several) == DataConfig(kind="folder")
    assert data_settings(options, DataConfig(), several.classes) == DataConfig(kind="folder")
    options.layout = "coco"
    assert data_settings(options, DataConfig(), several.classes) == several
