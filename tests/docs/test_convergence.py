"""The picture of converging vectors: the loss falls as the page says."""

from __future__ import annotations

import runpy
from itertools import islice
from pathlib import Path

import numpy as np

from training.data.synthetic import draw_nuclei

SCRIPT = Path(__file__).parents[2] / "docs" / "draw_convergence.py"


def test_the_vectors_of_one_image_converge() -> None:
    converge = runpy.run_path(str(SCRIPT))["converge"]
    rng = np.random.default_rng(1)
    image, labels = draw_nuclei(rng, height=64, width=64, nuclei=5, radius_px=9.0)
    steps = list(islice(converge(image, labels), 3))
    assert [step for step, _, _ in steps] == [0, 8, 16]
    assert steps[2][1] < steps[1][1] < steps[0][1]
    assert steps[2][2].shape == (2, 64, 64)
