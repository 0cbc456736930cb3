"""The commands, from drawn images to a served folder and its scores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from service.backends.model_config import model_from_config, parse_config
from tests.live import ROOT
from training.cli import main
from training.commands import record
from training.data.degradations import DEGRADATIONS
from training.data.synthetic import NucleiDataset
from training.deployment.repository import check_repository
from training.loop import checkpoint
from training.loop.checkpoint import Checkpoint
from training.loop.progress import RunReport

CONFIG = """
name = "tiny"
category = "nucleus"
[data]
kind = "folder"
[augment]
crop = 64
[model]
widths = [8, 12]
embedding_size = 3
coordinates = "none"
position_px = 4.0
[optim]
batch = 2
steps = 20
warmup_steps = 2
learning_rate = 1e-2
ema = 0.5
validate_every_s = 0
validate_every_steps = 10
[decode.settings]
bandwidth = 1.5
min_pixels = 8
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a data set in the folder format."""
    root = tmp_path_factory.mktemp("place")
    (root / "tiny.toml").write_text(CONFIG)
    for folder in ("images", "labels"):
        (root / "data" / folder).mkdir(parents=True)
    drawn = NucleiDataset(count=6, size=64, min_objects=3, max_objects=6, radius_px=8)
    for index in range(6):
        cv2.imwrite(str(root / f"data/images/{index}.png"), drawn[index].image)
        labels = drawn[index].labels.astype(np.uint16)
        cv2.imwrite(str(root / f"data/labels/{index}.png"), labels)
    (root / "data/train.txt").write_text("0\n1\n2\n3\n")
    (root / "data/val.txt").write_text("4\n5\n")
    return root


def run(place: Path, command: str) -> int:
    arguments = [part.replace("@", str(place)) for part in command.split()]
    return main([*arguments, "--threads", "1"])


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """The same folder after training, tuning, evaluating and exporting."""
    assert run(place, "train @/tiny.toml --data @/data --runs @/runs") == 0
    assert run(place, "tune @/runs/tiny/best.pt --data @/data") == 0
    assert run(place, "evaluate @/runs/tiny/best.pt --data @/data") == 0
    assert run(place, "export @/runs/tiny/best.pt --repository @/models") == 0
    return place


def test_tuned_settings_reach_the_served_recipe(trained: Path) -> None:
    decode = checkpoint.load(trained / "runs/tiny/best.pt").config.decode
    config = parse_config((trained / "models/tiny/config.pbtxt").read_text())
    recipe = model_from_config(config, "1").recipe
    assert recipe.foreground_threshold == decode.foreground_threshold
    assert recipe.decoder == decode.settings
    assert recipe.object_px == decode.object_px > 0


def test_a_run_without_validation_keeps_its_end_and_tunes_on_nothing(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "data/all.txt").write_text("0\n1\n2\n3\n4\n5\n")
    settings = "--set name=all --set data.train=all --set data.val= --set optim.steps=15"
    assert run(place, f"train @/tiny.toml --data @/data --runs @/runs {settings}") == 0
    end = checkpoint.load(place / "runs/all/best.pt")
    assert end.step == checkpoint.load(place / "runs/all/last.pt").step == 15
    for command in ("tune", "evaluate"):
        assert run(place, f"{command} @/runs/all/best.pt --data @/data") == 1
        assert "data.val of the run is empty" in capsys.readouterr().err


def test_a_golden_image_of_ones_own_travels_with_the_model(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = cv2.imread(str(next((trained / "data/images").iterdir())), cv2.IMREAD_UNCHANGED)
    assert own is not None
    cv2.imwrite(str(trained / "own.png"), own)
    cv2.imwrite(str(trained / "large.png"), np.zeros((8, 300), np.uint8))
    command = "export @/runs/tiny/best.pt --repository @/own-models --golden"
    assert run(trained, f"{command} @/own.png") == 0
    golden = cv2.imread(str(trained / "own-models/tiny/golden.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(np.asarray(golden), np.asarray(own))
    assert run(trained, f"{command} @/large.png") == 1
    assert "at most 256" in capsys.readouterr().err


def test_the_card_carries_settings_command_and_measured_figures(trained: Path) -> None:
    card = (trained / "models/tiny/MODEL_CARD.md").read_text()
    score = json.loads((trained / "runs/tiny/evaluation/validation.json").read_text())
    assert f"| AP, mean over images | {score['ap']['0.5']:.3f} |" in card
    assert "python -m training train CONFIG --data DIR\n" in card
    assert '"embedding_size": 3' in card


def test_the_card_of_a_checkpoint_has_no_figures_of_another(trained: Path) -> None:
    card = "card @/runs/tiny/best.pt --repository @/models"
    assert run(trained, card) == 0
    before = (trained / "models/tiny/MODEL_CARD.md").read_text()
    assert run(trained, "evaluate @/runs/tiny/last.pt --data @/data") == 0
    assert run(trained, "evaluate @/runs/tiny/last.pt --data @/data --title end") == 0
    assert run(trained, card) == 0
    assert (trained / "models/tiny/MODEL_CARD.md").read_text() == before
    assert run(trained, "card @/runs/tiny/last.pt --repository @/models") == 0
    assert "### end: 2 images" in (trained / "models/tiny/MODEL_CARD.md").read_text()
    assert run(trained, card) == 0


def test_a_card_keeps_what_was_written_into_it_by_hand(trained: Path) -> None:
    path = trained / "models/tiny/MODEL_CARD.md"
    assert run(trained, "card @/runs/tiny/best.pt --repository @/models") == 0
    before = path.read_text()
    path.write_text(before.replace("## Settings", "By hand.\n\n## Settings"))
    assert run(trained, "card @/runs/tiny/best.pt --repository @/models") == 0
    assert path.read_text().replace("By hand.\n\n", "") == before != path.read_text()
    path.write_text(before)


def test_a_run_that_is_finished_says_so(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "train @/tiny.toml --data @/data --runs @/runs") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{trained}/runs/tiny: finished, 20 steps, ")


def test_the_resolved_configuration_lies_beside_the_run(trained: Path) -> None:
    resolved = json.loads((trained / "runs/tiny/config.json").read_text())
    assert resolved["optim"]["batch"] == 2
    assert resolved["loss"]["discriminative"]["delta_dist"] == 1.5


def test_a_model_folder_is_evaluated_through_onnx_and_the_worst_images_are_shown(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "one.txt").write_text("5\n")
    command = "evaluate @/models/tiny --data @/data --split val --only @/one.txt --out @/out"
    assert run(trained, command) == 0
    record = json.loads((trained / "out/val-one.json").read_text())
    assert record["images"] == 1
    assert 0 <= record["mean_ap"] <= 1
    assert cv2.imread(str(trained / "out/val-one-worst.png")) is not None
    assert "AP@0.5" in capsys.readouterr().out


def test_a_model_is_scored_on_images_that_are_less_than_perfect(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = "robustness @/models/tiny --data @/data --split val --out @/worse --record @/worst"
    assert run(trained, command) == 0
    facts = json.loads((trained / "worse/val-degraded.json").read_text())
    assert facts == json.loads((trained / "worst/tiny-val-degraded.json").read_text())
    assert (facts["images"], facts["strength"]) == (2, 0.5)
    assert list(facts["degraded"]) == list(DEGRADATIONS)
    picture = cv2.imread(str(trained / "worse/val-degraded.png"))
    assert picture is not None
    assert picture.shape[1] > 4 * 64
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12].strip() for line in lines[: 1 + len(DEGRADATIONS)]] == [
        "as they are",
        *DEGRADATIONS,
    ]


def test_a_strength_beyond_the_scale_is_refused(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for strength in ("1.5", "nan", "much"):
        with pytest.raises(SystemExit):
            run(trained, f"robustness @/models/tiny --data @/data --strength {strength}")
        assert "--strength" in capsys.readouterr().err


def test_a_trial_leaves_the_figures_of_the_model_as_they_are(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    (trained / "four.txt").write_text("4\n")
    card = (trained / "models/tiny/MODEL_CARD.md").read_text()
    command = "evaluate @/runs/tiny/best.pt --data @/data --record @/tried"
    assert run(trained, f"{command} --decode foreground_threshold=0.9") == 0
    assert run(trained, "card @/runs/tiny/best.pt --repository @/models") == 0
    assert (trained / "models/tiny/MODEL_CARD.md").read_text() == card
    assert run(trained, f"{command} --only @/four.txt") == 0
    assert run(trained, f"{command} --tta") == 0
    assert run(trained, f"{command} --tta --decode foreground_threshold=0.9") == 0
    assert {path.name for path in (trained / "tried").iterdir()} == {
        "tiny-trial-validation.json",
        "tiny-validation-four.json",
        "tiny-tta-validation.json",
        "tiny-trial-tta-validation.json",
    }


def test_images_without_an_instance_are_learned_and_judged_where_they_are_allowed(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = shutil.copytree(trained / "data", trained / "sparse")
    for name in ("n1", "n2"):
        for folder in ("images", "labels"):
            cv2.imwrite(str(data / f"{folder}/{name}.png"), np.zeros((64, 64), np.uint8))
    (data / "train.txt").write_text("0\n1\nn1\n")
    (data / "val.txt").write_text("n2\n4\n")
    (data / "nothing.txt").write_text("n1\nn2\n")
    command = "train @/tiny.toml --data @/sparse --runs @/runs --set name=sparse"
    assert run(trained, command) == 1
    assert "labels/n1.png: no instance in it; data.allow_empty" in capsys.readouterr().err
    assert run(trained, f"{command} --set data.allow_empty=true") == 0
    assert run(trained, "tune @/runs/sparse/best.pt --data @/sparse") == 0
    command = "evaluate @/models/tiny --data @/sparse --split nothing --out @/e"
    assert run(trained, command) == 1
    assert "--allow-empty" in capsys.readouterr().err
    certain = "--decode foreground_threshold=0.999"
    assert run(trained, f"{command} --allow-empty {certain}") == 0
    found = json.loads((trained / "e/nothing.json").read_text())
    assert (found["images"], found["ap"]["0.5"], found["coco"]["ap"]) == (2, 1, 0)
    assert run(trained, f"{command} --allow-empty --decode foreground_threshold=0.001") == 0
    found = json.loads((trained / "e/nothing.json").read_text())
    assert found["ap"]["0.5"] == 0 < found["faults"]["spurious"]


def test_a_finished_run_has_nothing_left_to_do(trained: Path) -> None:
    before = checkpoint.load(trained / "runs/tiny/last.pt").step
    assert run(trained, "train @/tiny.toml --data @/data --runs @/runs") == 0
    assert checkpoint.load(trained / "runs/tiny/last.pt").step == before == 20


def test_a_run_that_does_not_exist_is_not_resumed(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(trained, "train @/tiny.toml --data @/data --runs @/runs --resume") == 0
    assert run(trained, "train @/tiny.toml --data @/data --runs @/other --resume") == 1
    assert "other/tiny/last.pt: no run to resume" in capsys.readouterr().err
    assert not (trained / "other").exists()


def test_tensorboard_shows_losses_scores_and_pictures(trained: Path) -> None:
    events = EventAccumulator(str(trained / "runs/tiny"))
    events.Reload()
    tags = events.Tags()
    assert {"total", "embedding/variance", "rate", "validation/ap0.5"} <= set(tags["scalars"])
    # Image, truth, answer, foreground and embedding, side by side.
    (picture,) = [events.Images(tag)[-1] for tag in tags["images"] if tag == "examples/4"]
    assert (picture.height, picture.width) == (64, 5 * 64)
    assert picture.step == 20


def test_tensorboard_shows_no_step_twice_after_a_run_was_killed(place: Path) -> None:
    command = "train @/tiny.toml --data @/data --runs @/runs --set name=killed"
    folder = place / "runs/killed"
    assert run(place, f"{command} --set optim.steps=10") == 0
    for file in folder.glob("events.*"):
        file.unlink()
    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("total", 1.0, 10)
        writer.add_scalar("total", 1.0, 17)  # of which no snapshot knows
    (written,) = folder.glob("events.*")
    written.rename(folder / "events.out.tfevents.0")
    assert run(place, command) == 0
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [point.step for point in events.Scalars("total")] == [10, 20]


def test_a_run_that_is_continued_is_read_once(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def load(path: Path) -> Checkpoint:
        read.append(path)
        return load_as_it_is(path)

    load_as_it_is = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", load)
    assert run(trained, "train @/tiny.toml --data @/data --runs @/runs") == 0
    assert read == [trained / "runs/tiny/last.pt"]


def test_a_run_that_is_interrupted_ends_without_a_word(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunReport, "on_step", interrupt)
    assert run(place, "train @/tiny.toml --data @/data --runs @/runs --set name=cut") == 130
    assert capsys.readouterr().err == ""


def test_a_run_that_is_not_continued_keeps_its_configuration(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "runs/tiny/config.json").read_text()
    command = "train @/tiny.toml --data @/data --runs @/runs --set model.widths=[8,16]"
    assert run(trained, command) == 1
    assert "model.widths is (8, 12)" in capsys.readouterr().err
    assert (trained / "runs/tiny/config.json").read_text() == before


def test_a_data_set_is_described_and_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "inspect train --data @/data --out @/sheet.png") == 0
    assert "4 images" in capsys.readouterr().out
    sheet = cv2.imread(str(place / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == 6 * 256


def test_a_split_without_instances_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), np.zeros((16, 16), np.uint8))
    cv2.imwrite(str(tmp_path / "labels/a.tif"), np.full((16, 16), -1, np.int32))
    (tmp_path / "train.txt").write_text("a\n")
    assert run(tmp_path, "inspect train --data @ --out @/sheet.png") == 0
    said = capsys.readouterr().out
    assert "pixels per instance: none" in said
    assert "1 images, 0 instances" in said


def test_what_a_model_makes_of_a_data_set_is_shown(trained: Path) -> None:
    command = "inspect val --data @/data --model @/models/tiny --out @/seen.png"
    assert run(trained, command) == 0
    panels = cv2.imread(str(trained / "seen-embeddings.png"))
    assert panels is not None
    assert panels.shape == (2 * 256, 6 * 256, 3)


def test_an_evaluation_with_augmentation_is_recorded_under_its_own_name(trained: Path) -> None:
    command = "evaluate @/models/tiny --data @/data --split val --tta --out @/t --record @/t"
    assert run(trained, command) == 0
    record = json.loads((trained / "t/tiny-tta-val.json").read_text())
    assert record["model"] == "tiny-tta"
    assert set(record["coco"]) == {"ap", "ap50", "ap75"}


def test_settings_for_augmentation_are_searched_without_touching_the_checkpoint(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / "runs/tiny/best.pt").read_bytes()
    assert run(trained, "tune @/runs/tiny/best.pt --data @/data --tta") == 0
    assert (trained / "runs/tiny/best.pt").read_bytes() == before
    assert "foreground_threshold=0.5 min_score=0 bandwidth=" in capsys.readouterr().out


def test_a_model_folder_is_tuned_in_place(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained / "models/tiny", trained / "retuned/tiny")
    network = (trained / "retuned/tiny/1/model.onnx").read_bytes()
    command = "tune @/retuned/tiny --data @/data --keep"
    assert run(trained, command) == 1
    assert "--split is needed" in capsys.readouterr().err
    assert run(trained, command + " --split val --decode join_below=1.9 min_pixels=11") == 0
    config = parse_config((trained / "retuned/tiny/config.pbtxt").read_text())
    assert model_from_config(config, "1").recipe.decoder["join_below"] == 1.9
    assert (trained / "retuned/tiny/1/model.onnx").read_bytes() == network
    assert '"min_pixels": 11' in (trained / "retuned/tiny/MODEL_CARD.md").read_text()
    assert check_repository(trained / "retuned") == {"tiny": []}


def test_an_ablation_is_recorded_and_reaches_the_page(trained: Path) -> None:
    command = "ablate @/models/tiny --data @/data --split val --decode bandwidth=1.25"
    assert run(trained, command + " --record @/ablated") == 0
    record = json.loads((trained / "ablated/tiny-trial-val-ablation.json").read_text())
    assert [(row["foreground"], row["grouping"]) for row in record["rows"]] == [
        ("predicted", "clustering"),
        ("predicted", "true centres"),
        ("true", "clustering"),
        ("true", "true centres"),
    ]
    (trained / "ablated/introduction.md").write_text("# Results\n")
    assert run(trained, "table --records @/ablated --out @/ABLATED.md") == 0
    assert "## What costs accuracy: tiny" in (trained / "ABLATED.md").read_text()


def test_a_drawn_split_has_a_seed(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "evaluate @/models/tiny --split sticks:many") == 1
    assert "'many' is no seed" in capsys.readouterr().err


def test_recorded_evaluations_become_a_page_with_the_published_rows(trained: Path) -> None:
    command = "evaluate @/models/tiny --data @/data --split val --title stardist_test"
    assert run(trained, command + " --out @/out2 --record @/records") == 0
    (trained / "records/introduction.md").write_text("# Results\n")
    assert run(trained, "table --records @/records --out @/RESULTS.md") == 0
    page = (trained / "RESULTS.md").read_text()
    record = json.loads((trained / "records/tiny-stardist_test.json").read_text())
    assert page.startswith("# Results")
    assert f"| tiny | {record['ap']['0.5']:.3f} |" in page
    assert "| EmbedSeg | 0.876 | 0.768 | 0.399 |" in page


@pytest.mark.parametrize("kind", ["nuclei", "sticks"])
def test_examples_are_drawn_again_byte_for_byte(place: Path, kind: str) -> None:
    command = f"synthesize {kind} --size 96 --count 5 --radius 8 --seed 3 --out @/"
    assert run(place, command + "a.png") == 0
    assert run(place, command + "b.png") == 0
    assert (place / "a.png").read_bytes() == (place / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train @/tiny.toml --data @/nowhere --runs @/r", "no such split list"),
        ("train @/tiny.toml --data @/data --runs @/r --set optim.speed=1", "optim.speed"),
        ("train @/none.toml --data @/data --runs @/r", "none.toml: No such file"),
        ("inspect test --data @/data", "no such split list"),
        ("inspect train --data @/data --out @/sheet", "sheet: no format of pictures ends so"),
        ("synthesize nuclei --out @/a", "a: no format of pictures ends so"),
        ("inspect train --data @/data --classes a b", "'folder' tells no classes apart"),
        ("inspect train --data @/data --model @/none", "none: No such file"),
        ("evaluate @/none --data @/data --split val", "none: No such file"),
        ("evaluate @/tiny.toml --data @/data --split val", "is no checkpoint of a run"),
        ("evaluate @/data --data @/data --split val", "config.pbtxt: No such file"),
        ("evaluate @/broken --data @/data --split val", "no network that ONNX Runtime can load"),
        ("evaluate @/bare --data @/data --split val", "no parameter 'segmentation'"),
        ("tune @/none --data @/data", "none: No such file"),
        ("tune @/data --data @/data --split val", "config.pbtxt: No such file"),
        ("ablate @/none --data @/data", "none: No such file"),
        ("export @/none.pt", "none.pt: No such file"),
        ("card @/tiny.toml", "is no checkpoint of a run"),
        ("shrink @/none --name small", "config.pbtxt: No such file"),
        ("cluster-on-server @/none", "config.pbtxt: No such file"),
        ("configure @/none", "holds no model folder"),
        ("tensorrt @/none", "holds no model folder"),
        ("check-repository @/none", "no such folder"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    place: Path, capsys: pytest.CaptureFixture[str], command: str, words: str
) -> None:
    shipped = ROOT / "model_repository" / "nuclei-fast"
    for name in ("broken", "bare"):
        (place / name / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped / "config.pbtxt", place / "broken")
    (place / "broken" / "1" / "model.onnx").write_bytes(b"no network")
    (place / "bare" / "config.pbtxt").write_text('name: "bare"')
    assert run(place, command) == 1
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("number", ["0", "-2", "1.5", "many"])
def test_threads_are_counted(capsys: pytest.CaptureFixture[str], number: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["check-repository", "none", f"--threads={number}"])
    assert stopped.value.code == 2
    assert f"'{number}' is no whole number above 0" in capsys.readouterr().err


def test_the_validation_list_is_read_alone_and_as_the_command_says(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for name in ("4.png", "5.png"):
            shutil.copy(trained / "data" / folder / name, tmp_path / folder)
    shutil.copy(trained / "data/val.txt", tmp_path)
    command = f"evaluate @/runs/tiny/best.pt --data {tmp_path} --out {tmp_path}"
    assert run(trained, command) == 0, "training images are not asked for"
    assert "validation: 2 images" in capsys.readouterr().out
    assert run(trained, command + " --labels other") == 1
    assert "no mask in other/" in capsys.readouterr().err


def test_a_model_folder_needs_a_split(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(trained, "evaluate @/models/tiny --data @/data") == 1
    assert "--split" in capsys.readouterr().err


def test_drawn_data_trains_as_well(place: Path) -> None:
    drawn = (
        "train @/tiny.toml --runs @/r2 --max-minutes 0.02 --set data.image_size=64 "
        "--set data.val_images=1 --set data.min_objects=2 --set data.max_objects=3 "
    )
    assert run(place, drawn + "--set data.kind=sticks") == 0
    assert run(place, drawn + "--set data.kind=nuclei --set name=other") == 0
    assert checkpoint.load(place / "r2/other/best.pt").step >= 1


@pytest.mark.parametrize(
    ("given", "recorded"),
    [(["--data", "/home/me/cells"], "--data DIR"), (["--data=/home/me/cells"], "--data=DIR")],
)
def test_a_recorded_command_does_not_tell_where_the_data_lies(
    given: list[str], recorded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["training", "evaluate", "mine", *given, "--threads", "1"])
    assert record.command_line() == f"python -m training evaluate mine {recorded} --threads 1"


@pytest.mark.slow
def test_a_run_that_cannot_be_compiled_says_what_is_missing(place: Path) -> None:
    command = (
        f"train {place}/tiny.toml --data {place}/data --runs {place}/c --set optim.compile=true"
    )
    done = subprocess.run(
        [sys.executable, "-m", "training", *command.split()],
        env=os.environ | {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(place / "cache")},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "optim.compile: InvalidCxxCompiler" in done.stderr
    assert "Traceback" not in done.stderr
