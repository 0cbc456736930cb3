"""Decoder settings on the command line."""

from __future__ import annotations

import pytest

from service.domain import Category
from service.recipe import Recipe
from training.commands.opening import decoded_otherwise
from training.config.checks import ConfigError

RECIPE = Recipe(
    method="discriminative",
    embedding_size=2,
    classes=(Category(1, "nucleus"),),
    size_multiple=1,
    decoder={"bandwidth": 1.5, "min_pixels": 8.0},
)


def test_settings_given_replace_those_of_the_recipe() -> None:
    changed = decoded_otherwise(RECIPE, ["bandwidth=1.75", "foreground_threshold=0.55"])
    assert changed.decoder == {"bandwidth": 1.75, "min_pixels": 8.0}
    assert changed.foreground_threshold == 0.55
    assert decoded_otherwise(RECIPE, []) == RECIPE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("kappa=3", "'kappa' is not one of"),
        ("bandwidth=wide", "'wide' is not a number"),
        ("bandwidth", "'' is not a number"),
        ("foreground_threshold=1", r"must lie in \(0, 1\)"),
    ],
)
def test_what_the_decoder_cannot_take_is_refused(change: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        decoded_otherwise(RECIPE, [change])
