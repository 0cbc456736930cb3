"""Compiling every kernel before the first request needs it."""

from __future__ import annotations

import numpy as np

from service.domain import Category, Method, Prediction
from service.postprocess.extract import extract
from service.recipe import Recipe

METHODS: tuple[Method, ...] = ("discriminative",)


def compile_kernels() -> None:
    """Run every decoder once on a small picture, in both float types.

    Takes seconds where nothing is compiled yet, milliseconds where the compiled code is kept.
    """
    ramp = np.arange(2 * 8 * 8, dtype=np.float32).reshape(2, 8, 8)
    for dtype in (np.float16, np.float32):
        for method in METHODS:
            prediction = Prediction(
                embedding=ramp.astype(dtype),
                foreground_logits=np.ones((1, 8, 8), dtype=dtype),
            )
            recipe = Recipe(
                method=method,
                embedding_size=2,
                classes=(Category(1, "object"),),
                size_multiple=1,
            )
            extract(prediction, recipe, (7, 7))
