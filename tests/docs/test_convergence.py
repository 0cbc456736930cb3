"""The picture of converging vectors: the loss falls as the page says."""

from __future__ import annotations

from itertools import islice

import numpy as np

from docs.draw_convergence import converge
from training.data.synthetic import draw_nuclei


def test_the_vectors_of_one_image_converge() -> None:
    image, labels = draw_nuclei(
        np.random.default_rng(1), height=64, width=64, nuclei=5, radius_px=9.0
    )
    steps = list(islice(converge(image, labels), 3))
    assert [step for step, _, _ in steps] == [0, 8, 16]
    assert steps[2][1] < steps[1][1] < steps[0][1]
    assert steps[2][2].shape == (2, 64, 64)
