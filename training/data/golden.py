"""The pictures that a model may travel with as its self-test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.data.dataset import Sample
from training.data.phase_contrast import draw_cells
from training.data.synthetic import draw_nuclei, draw_sticks


def golden_scenes(kind: str) -> Iterator[Sample]:
    """Draw small scenes of every sort, the likeliest first.

    Parameters
    ----------
    kind : str
        Of the training data: sticks come first for ``sticks``, nuclei for any other.

    Notes
    -----
    Nuclei and cells stand on odd sizes, so that padding is part of the test.
    """
    scenes = {"nuclei": _nuclei, "cells": _cells, "sticks": _sticks}
    for name in sorted(scenes, key=lambda name: name != kind):
        yield scenes[name](np.random.default_rng(2018))


def _nuclei(rng: np.random.Generator) -> Sample:
    image, labels = draw_nuclei(rng, height=100, width=116, nuclei=16, radius_px=9.0)
    return Sample("golden", image, labels)


def _cells(rng: np.random.Generator) -> Sample:
    return Sample("golden", *draw_cells(rng, height=140, width=148, cells=4))


def _sticks(rng: np.random.Generator) -> Sample:
    return Sample("golden", *draw_sticks(rng, size=128, sticks=4))
