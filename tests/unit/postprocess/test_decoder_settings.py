"""The settings that recipes may hold are those that the decoders take."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from service.decoder_settings import DECODER_SETTINGS, faults
from service.domain import Category, Method
from service.errors import ArtefactError
from service.postprocess.associative import decode_associative
from service.postprocess.clustering import decode_discriminative
from service.postprocess.metric_learning import decode_metric_learning
from service.postprocess.recurrent import decode_recurrent
from service.postprocess.spatial import decode_spatial
from service.recipe import Recipe

DECODERS: dict[Method, Any] = {
    "discriminative": decode_discriminative,
    "associative": decode_associative,
    "metric_learning": decode_metric_learning,
    "recurrent": decode_recurrent,
    "spatial": decode_spatial,
}


@pytest.mark.parametrize("method", DECODER_SETTINGS)
def test_the_settings_are_the_keywords_of_the_decoder_and_hold_its_defaults(method: Method) -> None:
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(DECODERS[method]).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    known = DECODER_SETTINGS[method]
    assert set(known) == set(taken)
    assert all(known[name].holds(default) for name, default in taken.items())
    assert {name for name, default in taken.items() if isinstance(default, int)} == {
        name for name, allowed in known.items() if allowed.whole
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bandwith": 1.5}, "'bandwith' is not one of bandwidth, min_pixels"),
        ({"kappa": 1.5}, "'kappa' is not one of"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0, must be a number above 0"),
        ({"bandwidth": float("nan")}, "bandwidth is nan, must be a number above 0"),
        ({"bandwidth": float("inf")}, "bandwidth is inf, must be"),
        ({"bandwidth": "wide"}, "bandwidth is 'wide', must be"),
        ({"join_rim": -1.0}, "join_rim is -1.0, must be a number of 0 or more"),
        ({"min_pixels": 1.5}, "min_pixels is 1.5, must be a whole number of 0 or more"),
    ],
)
def test_a_recipe_that_no_decoder_could_read_is_refused(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArtefactError, match=words):
        Recipe(
            method="discriminative",
            embedding_size=2,
            classes=(Category(1, "cell"),),
            size_multiple=8,
            decoder=settings,
        )


def test_whole_numbers_may_come_as_json_has_them() -> None:
    assert list(faults("discriminative", {"min_pixels": 32.0, "bandwidth": 2})) == []


def test_a_seed_cannot_be_surer_than_sure() -> None:
    assert list(faults("spatial", {"min_seed": 0.99})) == []
    assert list(faults("spatial", {"min_seed": 1.0})) == [
        "min_seed is 1.0, must be a number of 0 or more, below 1"
    ]
