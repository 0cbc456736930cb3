"""Model cards: where the data come from, under which licence, and what was measured."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from training.config.checks import ConfigError
from training.config.data import DataConfig, DataKind
from training.config.experiment import Config, DecodeConfig
from training.config.read import as_literal, load
from training.report.card import data_of, with_decode, with_words_of, write_card
from training.report.sources import KINDS, source_of

CONFIGS = Path(__file__).parents[3] / "training" / "configs"
STATE = {"step": 1200, "elapsed_s": 600.0, "parameters": 4321}


@pytest.mark.parametrize(
    ("name", "words", "licence"),
    [
        ("nuclei", "Data Science Bowl 2018", "Data CC0"),
        ("nuclei-fast", "masks from the first of `labels_stardist` and `labels`", "Data CC0"),
        ("cells-phase", "Usiigaci", "Data MIT"),
        ("sticks", "4 to 14 scattered sticks", "No outside data"),
        ("cvppp", "Leaves of plants", "for research"),
        ("cityscapes", "Street scenes", "not for commercial use"),
        ("kaggle-nuclei", "Data Science Bowl 2018", "Data CC0"),
    ],
)
def test_a_card_names_source_and_licence(name: str, words: str, licence: str) -> None:
    card = write_card(load(CONFIGS / f"{name}.toml"), state=STATE, results=[])
    assert words in card
    assert licence in card
    assert "{" not in card.split("## Training")[0]


def test_every_kind_of_data_has_a_source() -> None:
    assert set(KINDS) == set(get_args(DataKind))


def test_a_folder_that_nobody_described_is_said_to_be_unknown() -> None:
    assert "not stated" in source_of(Config(name="mine")).licence


def test_drawn_images_among_real_ones_are_mentioned() -> None:
    config = Config(name="nuclei", data=DataConfig(drawn=300))
    assert "300 drawn fields of nuclei" in source_of(config).text


def test_commands_name_the_data_only_where_there_are_files() -> None:
    config = load(CONFIGS / "cvppp.toml")
    assert "cvppp.toml --data DIR" in write_card(config, state=STATE, results=[])
    drawn = replace(config, data=DataConfig(kind="nuclei"))
    assert "--data" not in write_card(drawn, state=STATE, results=[])


def test_a_card_claims_nothing_that_it_does_not_know() -> None:
    steps = write_card(Config(name="mine"), state=STATE, results=[])
    assert "python -m training train CONFIG --data DIR\n" in steps, "no file of that name is ours"
    assert "256 x 256 pixels, 10 minutes.\n" in steps
    assert "clock" not in steps
    config = load(CONFIGS / "nuclei.toml", ["optim.max_minutes=94"])
    clock = write_card(config, state=STATE, results=[])
    assert "train training/configs/nuclei.toml --data DIR --max-minutes 94\n" in clock
    assert "The run follows the clock" in clock


def test_a_card_repeats_what_was_set_on_the_command_line() -> None:
    overrides = [
        "seed=7", 'data.labels=["own"]', "data.val=", "optim.batch=4", "optim.learning_rate=1e-5",
        "optim.compile=true", "start=my models/it's", "optim.max_minutes=0",
    ]  # fmt: skip
    path = CONFIGS / "nuclei.toml"
    config = load(path, overrides)
    (command,) = (
        line
        for line in write_card(config, state=STATE, results=[]).splitlines()
        if "training train" in line
    )
    words = shlex.split(command)
    assert words[4:7] == ["training/configs/nuclei.toml", "--data", "DIR"]
    assert words[7::2] == ["--set"] * len(overrides)
    assert load(path, words[8::2]) == config
    mine = write_card(replace(config, name="mine"), state=STATE, results=[])
    assert "`CONFIG` is a TOML file with the settings below" in mine


@pytest.mark.parametrize("text", ["", "all", "3", "true", "[1]", '"', "a b", " a", "a # b", "é\n"])
def test_a_value_is_written_as_it_is_read(text: str) -> None:
    config = load(CONFIGS / "sticks.toml", [f"start={as_literal(text)}"])
    assert config.start == text


def test_a_run_that_validated_nothing_says_so() -> None:
    config = load(CONFIGS / "nuclei.toml", ["data.train=all", "data.val="])
    card = write_card(config, state=STATE, results=[])
    assert "List `all` (training)" in card
    assert "The end of the run, which had no images to validate on: after 1,200 steps" in card
    assert "training tune" not in card


def test_settings_tuned_since_replace_those_of_the_card() -> None:
    config = load(CONFIGS / "nuclei.toml")
    card = write_card(config, state=STATE, results=[])
    decode = DecodeConfig(settings={"bandwidth": 1.375}, score_calibration=(0.5, 2.0, -1.0))
    assert with_decode(card, decode) == write_card(
        replace(config, decode=decode), state=STATE, results=[]
    ).replace("best.pt --data DIR\n", "best.pt --data DIR --keep\n")
    assert with_decode("# by hand\n", decode) == "# by hand\n"


def test_sentences_by_hand_stay_above_the_settings_of_today() -> None:
    config = load(CONFIGS / "nuclei.toml")
    tuned = replace(config, decode=DecodeConfig(min_score=0.25))
    card = write_card(tuned, state=STATE, results=[])
    before = write_card(config, state=STATE, results=[]).replace(
        "## Settings", "By hand.\n\n## Settings"
    )
    kept = with_words_of(before, card)
    assert "\n\nBy hand.\n\n## Settings" in kept
    assert '"min_score": 0.25' in kept
    assert kept.count("## Settings") == 1
    longer = write_card(tuned, state={**STATE, "step": 1300}, results=[])
    assert with_words_of(before, longer) == longer
    assert with_words_of("# by hand\n", card) == card


@pytest.mark.parametrize("name", ["coco", "cvppp", "nuclei"])
def test_a_card_states_its_data(name: str) -> None:
    config = load(CONFIGS / f"{name}.toml")
    card = write_card(config, state=STATE, results=[])
    assert data_of(card) == config.data
    assert data_of(with_decode(card, DecodeConfig(min_score=0.4))) == config.data
    assert ("Images were brought to 512 x 512 pixels" in card) == (name == "cvppp")


def test_a_card_by_hand_states_none() -> None:
    assert data_of("# by hand\n") is None
    assert data_of("```json\n{}\n```\n") is None
    assert data_of('```json\n["a list"]\n```\n') is None
    with pytest.raises(ConfigError, match="the settings are not JSON"):
        data_of("```json\nnone\n```\n")


def test_several_classes_are_named() -> None:
    card = write_card(load(CONFIGS / "coco.toml"), state=STATE, results=[])
    assert "Finds every person and car in an image" in card


def test_a_card_says_whether_the_settings_were_searched_for() -> None:
    config = load(CONFIGS / "nuclei.toml")
    curve = replace(config, decode=replace(config.decode, score_calibration=(0.5, 2.0, -1.0)))
    other = replace(config, decode=replace(config.decode, foreground_threshold=0.61))
    assert "best.pt --data DIR --keep\n" in write_card(curve, state=STATE, results=[])
    assert "tune runs/nuclei/best.pt --data DIR\n" in write_card(other, state=STATE, results=[])


def test_what_is_left_on_degraded_images_stands_in_the_card() -> None:
    figures = {"mean_ap": 0.512, "ap": {"0.5": 0.634}}
    result = {
        "model": "tiny",
        "title": "val-degraded",
        "command": "python -m training robustness tiny",
        "images": 7,
        "strength": 0.25,
        "clean": figures,
        "degraded": {"noise": figures},
    }
    card = write_card(Config(name="tiny"), state=STATE, results=[result])
    assert "### val-degraded: 7 images\n" in card
    assert "| noise | 0.512 (0.634) |" in card
