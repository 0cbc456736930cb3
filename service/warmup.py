"""Compiling every kernel before the first request needs it."""

from __future__ import annotations

from typing import Any, get_args

import cv2
import numpy as np

from service import signature
from service.domain import Category, Method, Prediction
from service.imaging.scanlines import read_pixels
from service.masks.overlay import overlay
from service.masks.polygon import polygons_of_labels
from service.masks.rle import decode
from service.postprocess.extract import extract
from service.postprocess.labelled import Labelled
from service.postprocess.metric_learning import TAUS
from service.postprocess.resizing import at_size
from service.recipe import Recipe

SIDE = 144
"""Large enough for sampling, so that what follows up on missed instances runs too."""


def compile_kernels() -> None:
    """Run every decoder, in both float types, every renderer and the reader of PNG once.

    Takes a while where nothing is compiled yet, milliseconds where the compiled code is kept.
    """
    labels = np.zeros((SIDE, SIDE), np.int32)
    for dtype in (np.float16, np.float32):
        for method in get_args(Method):
            labels = extract(_picture(method, dtype), _recipe(method), (SIDE - 1, SIDE - 1)).labels
    nobody = Labelled(np.zeros_like(labels), np.empty(0), np.empty(0, np.int64))
    at_size(nobody, (SIDE, SIDE), None)
    polygons_of_labels(labels)
    overlay(np.zeros((*labels.shape, 3), np.uint8), labels)
    decode({"size": [1, 1], "counts": "01"})
    read_pixels(cv2.imencode(".png", labels.astype(np.uint8))[1].tobytes())


def _picture(method: Method, dtype: type[np.floating[Any]]) -> Prediction:
    """Return two halves, and on odd rows, which the sample misses, a speck and a lone pixel."""
    embedding = np.zeros((1 if method == "associative" else 2, SIDE, SIDE), dtype)
    embedding[:, :, SIDE // 2 :] = 10.0
    embedding[:, 5, 9:11] = -10.0
    embedding[:, 7, 41] = -30.0
    maps = len(TAUS) if method == "metric_learning" else 1
    return Prediction(
        embedding=embedding,
        foreground_logits=np.ones((1, SIDE, SIDE), dtype),
        extras={
            signature.SEEDINESS: np.full((maps, SIDE, SIDE), 5.0, dtype),
            signature.SIGMA: np.zeros((1, SIDE, SIDE), dtype),
        },
    )


def _recipe(method: Method) -> Recipe:
    # So far apart are the halves of the picture: they are joined.
    joins = {"join_below": 20.0, "join_rim": 1.0} if method == "discriminative" else {}
    return Recipe(
        method=method,
        embedding_size=2,
        classes=(Category(1, "object"),),
        size_multiple=1,
        decoder={"min_pixels": 2, **joins},
    )
