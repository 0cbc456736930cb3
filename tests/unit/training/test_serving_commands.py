"""The commands that change how a model is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest

from service.domain import TILE_PX
from service.recipe import PARAMETER, Recipe
from tests.live import ROOT
from training.cli import main
from training.deployment.server_config import read_config


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "model_repository" / "nuclei", tmp_path / "nuclei")
    return tmp_path


def recipe(folder: Path) -> Recipe:
    return Recipe.from_json(read_config(folder).parameters[PARAMETER].string_value)


def warm(folder: Path) -> set[tuple[int, int]]:
    entries = read_config(folder).model_warmup
    return {(entry.batch_size, entry.inputs["image"].dims[0]) for entry in entries}


def test_configuring_gives_buckets_and_warms_each_up(repository: Path) -> None:
    assert main(["configure", str(repository), "--buckets", "256", "512"]) == 0
    assert recipe(repository / "nuclei").size_buckets == (256, 512)
    assert warm(repository / "nuclei") == {
        *((batch, 256) for batch in (1, 2, 4, 8)),
        *((batch, 512) for batch in (1, 2, 4)),
    }
    assert main(["check-repository", str(repository)]) == 0


def test_configuring_keeps_what_is_not_asked_for_and_takes_buckets_away(repository: Path) -> None:
    main(["configure", str(repository), "--buckets", "256"])
    assert main(["configure", str(repository)]) == 0
    assert recipe(repository / "nuclei").size_buckets == (256,)
    assert main(["configure", str(repository), "--buckets"]) == 0
    assert recipe(repository / "nuclei").size_buckets == ()
    assert warm(repository / "nuclei") == {(1, 256), (1, TILE_PX)}


def test_shipped_models_are_configured_as_configuring_would(repository: Path) -> None:
    folder = repository / "nuclei"
    before, known = read_config(folder), recipe(folder)
    main(["configure", str(repository)])
    after = read_config(folder)
    assert recipe(folder) == known
    for config in (before, after):
        del config.parameters[PARAMETER]
    assert after == before


@pytest.mark.parametrize(
    ("buckets", "said"), [(["100"], "multiples of 32"), ([], "holds no model folder")]
)
def test_what_cannot_be_configured_is_said(
    repository: Path, capsys: pytest.CaptureFixture[str], buckets: list[str], said: str
) -> None:
    folder = repository if buckets else repository / "nuclei"
    assert main(["configure", str(folder), "--buckets", *buckets]) == 1
    assert said in capsys.readouterr().err


def test_a_bucket_that_is_not_warmed_up_is_named(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = repository / "nuclei" / "config.pbtxt"
    path.write_text(path.read_text().replace('\\"size_buckets\\":[]', '\\"size_buckets\\":[512]'))
    assert main(["check-repository", str(repository)]) == 1
    assert "the bucket of 512 pixels is not warmed up" in capsys.readouterr().out


def test_shrinking_writes_a_model_in_order(repository: Path) -> None:
    images = repository.parent / f"{repository.name}-images"
    images.mkdir()
    picture = cv2.imread(str(ROOT / "examples" / "nuclei.png"))
    assert picture is not None
    cv2.imwrite(str(images / "nuclei.png"), picture)
    asked = ["--name", "small", "--stride", "2", "--dimensions", "2", "--bytes"]
    folder = str(repository / "nuclei")
    assert main(["shrink", folder, *asked, "--images", str(images)]) == 0
    small = recipe(repository / "small")
    assert (small.stride, small.embedding_size, len(small.embedding_scale)) == (2, 2, 2)
    assert main(["check-repository", str(repository)]) == 0


def test_shrinking_to_bytes_needs_pictures(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["shrink", str(repository / "nuclei"), "--name", "small", "--bytes"]) == 1
    assert "need --images" in capsys.readouterr().err


def test_clustering_on_the_server_writes_two_models_in_order(repository: Path) -> None:
    assert main(["cluster-on-server", str(repository / "nuclei")]) == 0
    assert {path.name for path in repository.iterdir()} == {
        "nuclei",
        "nuclei-clustering",
        "nuclei-labels",
    }
    assert main(["check-repository", str(repository)]) == 0
    assert main(["configure", str(repository)]) == 0
    assert main(["tensorrt", str(repository)]) == 0
    assert [path.parent.parent.name for path in repository.glob("*/configs/*")] == ["nuclei"]
