"""The vectors that the browser's decoder is tested with hold for every other decoder too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco_mask

from discern import rle as client_rle
from service.masks import rle as service_rle

# pycocotools 2.0.11 speaks to NumPy 2 in the way of NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/rle.json").read_text())
VALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["valid"]]
INVALID = [pytest.param(vector, id=vector["name"]) for vector in VECTORS["invalid"]]


def _mask_of(vector: dict[str, Any]) -> npt.NDArray[np.bool_]:
    rows = [[digit == "1" for digit in row] for row in vector["rows"]]
    return np.array(rows, dtype=np.bool_).reshape(vector["size"])


@pytest.mark.parametrize("vector", VALID)
def test_the_service_and_the_client_draw_the_same_mask(vector: dict[str, Any]) -> None:
    expected = _mask_of(vector)
    assert np.array_equal(service_rle.decode(vector), expected)
    assert np.array_equal(client_rle.decode(vector["size"], vector["counts"]), expected)
    assert np.array_equal(client_rle.decode(vector["size"], vector["runs"]), expected)


@pytest.mark.parametrize("vector", VALID)
def test_the_service_lists_the_runs(vector: dict[str, Any]) -> None:
    assert service_rle.to_uncompressed(vector)["counts"] == vector["runs"]


@pytest.mark.parametrize("vector", [case for case in VALID if "empty" not in str(case.id)])
def test_the_reference_implementation_agrees(vector: dict[str, Any]) -> None:
    assert np.array_equal(coco_mask.decode(vector).astype(bool), _mask_of(vector))


@pytest.mark.parametrize("vector", INVALID)
def test_malformed_runs_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"counts|runs"):
        service_rle.decode(vector)
    with pytest.raises(ValueError, match=r"counts|runs"):
        client_rle.decode(vector["size"], vector["counts"])
