"""Configurations: TOML in, checked dataclasses out."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config.checks import ConfigError
from training.config.read import from_dict, load

SHIPPED = sorted((Path(__file__).parents[3] / "training" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_is_valid_and_named_after_its_file(path: Path) -> None:
    assert load(path).name == path.stem


def test_a_configuration_survives_the_way_through_plain_values() -> None:
    config = load(SHIPPED[0])
    assert from_dict(config.to_dict()) == config


def test_a_file_may_begin_as_editors_of_windows_begin_it(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes('name = "x"\r\n'.encode("utf-8-sig"))
    assert load(path).name == "x"


def test_overrides_replace_single_values(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\n[optim]\nbatch = 2\nlearning_rate = 1\n')
    config = load(
        path,
        ["optim.batch=3", "category=cell", "model.widths=[4, 8]", "decode.settings.bandwidth=2"],
    )
    assert config.optim.batch == 3
    assert config.optim.learning_rate == 1.0
    assert config.category == "cell"
    assert config.model.widths == (4, 8)
    assert config.decode.settings == {"bandwidth": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\nspeed = 1', "unknown key speed"),
        ('name = "x"\n[optim]\nrate = 1', "unknown key optim.rate$"),
        ('name = "x"\n[optim]\nbach = 1', "unknown key optim.bach; is batch meant"),
        ('category = "x"', "name: is missing"),
        ('name = "../x"', "name: must match pattern"),
        ('name = "x"\nseed = 2026-11-29', "seed"),
        ("name = 3", "name: must be a valid string, not 3"),
        ('name = "x"\noptim = 3', "optim: must be a table"),
        ('name = "x"\n[optim]\nbatch = true', "optim.batch"),
        ('name = "x"\n[optim]\nbatch = 0', "optim.batch"),
        ('name = "x"\n[model]\nwidths = 3', "model.widths: must be a valid array, not 3"),
        ('name = "x"\n[model]\nwidths = [3]', "model.widths"),
        ('name = "x"\n[model]\nstem = 3\nembedding_stride = 2', "does not divide"),
        ('name = "x"\n[model]\nposition_px = 4\nembedding_size = 1', "position_px"),
        ('name = "x"\n[model]\ncoordinates = "polar"', "polar"),
        ('name = "x"\n[loss]\nmethod = "magic"', "magic"),
        ('name = "x"\n[loss.discriminative]\nnorm = 3', "norm"),
        ('name = "x"\n[loss.discriminative]\nbackground = "push"', "push"),
        ('name = "x"\n[data]\nkind = "web"', "web"),
        ('name = "x"\n[data]\nmin_objects = 5\nmax_objects = 2', "min_objects"),
        (
            'name = "x"\n[data]\nclasses = ["a", "b"]',
            "data.classes: 'folder' tells no classes apart",
        ),
        ('name = "x"\n[decode]\nforeground_threshold = 1.0', "foreground_threshold"),
        (
            'name = "x"\n[decode.settings]\nbandwith = 1',
            "decode.settings: 'bandwith' is not one of",
        ),
        (
            'name = "x"\n[decode.settings]\nbandwidth = 0',
            "bandwidth is 0.0, must be a number above 0",
        ),
        ('name = "x"\n[optim]\nlearning_rate = nan', "learning_rate: must be a finite number"),
        (
            'name = "x"\n[optim]\nlearning_rate = -1',
            "learning_rate: must be greater than or equal to 0",
        ),
        ('name = "x"\n[augment]\ncrop = 8', "augment.crop"),
        ('name = "x"\n[augment]\ncrop = 40', "augment.crop: must be a multiple of 32"),
        ('name = "x"\n[augment]\nwarp = 7', "augment.warp: must be less than or equal to 1"),
        ("name = ", "not TOML"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_its_key(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("override", "words"),
    [("optim.batch", "must read key=value"), ("name.x=1", "name is no table")],
)
def test_an_override_that_names_no_setting_is_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(SHIPPED[0], [override])


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\n[optim]\nbatch = 0\nema = 1.0\n')
    with pytest.raises(ConfigError, match=r"optim\.batch.*\n.*optim\.ema"):
        load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"x\.toml: No such file"):
        load(tmp_path / "x.toml")
