"""A rewritten network sends what its form says, and is served as any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from service.domain import Prediction
from service.postprocess.quantised import dequantise
from tests.live import ROOT
from training.data.synthetic import NucleiDataset
from training.deployment.export import Artefact, ExportError, open_artefact
from training.deployment.repository import check_model
from training.deployment.shrink import Form, form_for, shrink
from training.scoring.decoding import read

SOURCE = ROOT / "model_repository" / "nuclei"


@pytest.fixture(scope="module")
def image() -> npt.NDArray[np.uint8]:
    return NucleiDataset(count=1, seed=3, size=128)[0].image


@pytest.fixture(scope="module")
def artefact() -> Artefact:
    return open_artefact(SOURCE)


@pytest.fixture(scope="module")
def wide(artefact: Artefact, image: npt.NDArray[np.uint8]) -> Prediction:
    return artefact.predict(image)


def test_the_mean_of_each_block_is_sent_at_a_stride(
    tmp_path: Path, wide: Prediction, image: npt.NDArray[np.uint8]
) -> None:
    small = open_artefact(shrink(SOURCE, Form(stride=2), tmp_path, "half"))
    assert small.recipe.stride == 2
    size, height, width = wide.embedding.shape
    blocks = wide.embedding.astype(np.float32).reshape(size, height // 2, 2, width // 2, 2)
    found = small.predict(image)
    np.testing.assert_allclose(found.embedding, blocks.mean(axis=(2, 4)), atol=2e-2)
    np.testing.assert_array_equal(found.foreground_logits, wide.foreground_logits)


def test_bytes_are_within_half_a_step_where_there_is_foreground(
    tmp_path: Path, artefact: Artefact, wide: Prediction, image: npt.NDArray[np.uint8]
) -> None:
    form = form_for([wide], artefact.recipe, quantise=True)
    small = open_artefact(shrink(SOURCE, form, tmp_path, "bytes"))
    found = small.predict(image)
    assert found.embedding.dtype == np.uint8
    read_back = dequantise(found.embedding, form.scale, form.slope).astype(np.float32)
    gap = np.abs(read_back - wide.embedding)
    seen = wide.foreground_logits[0] > 0
    for plane, step in zip(gap, form.scale, strict=True):
        assert plane[seen].max() <= 0.51 * step + 2e-2


def test_bytes_reach_beyond_the_size_of_the_images_that_they_were_chosen_by(
    tmp_path: Path, artefact: Artefact, wide: Prediction
) -> None:
    form = form_for([wide], artefact.recipe, quantise=True)
    small = open_artefact(shrink(SOURCE, form, tmp_path, "bytes"))
    large = NucleiDataset(count=1, seed=4, size=640, min_objects=120, max_objects=120)[0].image
    count = read(artefact.predict(large), artefact.recipe, large.shape[:2]).max()
    assert count > 80
    assert read(small.predict(large), small.recipe, large.shape[:2]).max() == pytest.approx(
        count, abs=2
    )


def test_directions_are_those_in_which_the_vectors_differ(
    tmp_path: Path, artefact: Artefact, wide: Prediction, image: npt.NDArray[np.uint8]
) -> None:
    form = form_for([wide], artefact.recipe, dimensions=2)
    assert form.basis is not None
    np.testing.assert_allclose(form.basis @ form.basis.T, np.eye(2), atol=1e-5)
    small = open_artefact(shrink(SOURCE, form, tmp_path, "flat"))
    assert small.recipe.embedding_size == 2
    assert small.predict(image).embedding.shape[0] == 2


@pytest.mark.parametrize("wanted", [{}, {"quantise": True}], ids=["half precision", "bytes"])
def test_every_form_is_in_order_and_finds_the_same_objects(
    tmp_path: Path,
    artefact: Artefact,
    wide: Prediction,
    image: npt.NDArray[np.uint8],
    wanted: dict[str, bool],
) -> None:
    form = form_for([wide], artefact.recipe, stride=2, dimensions=2, **wanted)
    folder = shrink(SOURCE, form, tmp_path, "small")
    assert check_model(folder) == []
    small = open_artefact(folder)
    whole = read(wide, artefact.recipe, image.shape[:2]).max()
    assert read(small.predict(image), small.recipe, image.shape[:2]).max() == pytest.approx(
        whole, abs=1
    )


def test_what_is_in_bytes_already_is_not_shrunk_again(
    tmp_path: Path, artefact: Artefact, wide: Prediction
) -> None:
    form = form_for([wide], artefact.recipe, quantise=True)
    folder = shrink(SOURCE, form, tmp_path, "bytes")
    with pytest.raises(ExportError, match="8 bits already"):
        shrink(folder, Form(stride=2), tmp_path, "again")


def test_a_form_that_cannot_be_is_refused(artefact: Artefact, wide: Prediction) -> None:
    with pytest.raises(ExportError, match="cannot be kept"):
        form_for([wide], artefact.recipe, dimensions=99)
    with pytest.raises(ExportError, match="no foreground"):
        form_for([], artefact.recipe, quantise=True)


def test_a_folder_without_its_golden_image_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(SOURCE, folder)
    (folder / "golden.png").unlink()
    with pytest.raises(ExportError, match=r"golden\.png"):
        shrink(folder, Form(stride=2), tmp_path, "small")
