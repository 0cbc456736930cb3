"""The page of results: every figure from a record, and in words what follows from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.report.results import write_results

ROOT = Path(__file__).parents[3]


def record(**changes: Any) -> dict[str, Any]:
    thresholds = ("0.5", "0.6", "0.7", "0.8", "0.9")
    flat = dict.fromkeys(thresholds, 0.75)
    return {
        "model": "mine",
        "title": "val",
        "command": "python -m training evaluate mine",
        "images": 7,
        "ap": flat,
        "ap_pooled": flat,
        "f1_pooled": flat,
        "mean_ap": 0.75,
        "pq": 0.61,
        "sbd": 0.62,
        "fbd": 0.63,
        "abs_dic": 1.5,
        "cut": 0,
        "kept": 0,
        "calibration_error": 0.031,
        "outline_px": 0.27,
        "drawn_alike": {"images": 5, "ap": flat},
    } | changes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of records, still empty."""
    (tmp_path / "introduction.md").write_text("# Results\n")
    return tmp_path


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content))


def test_every_figure_of_a_record_stands_in_its_row(folder: Path) -> None:
    write(folder, "a", record(coco={"ap": 0.44, "ap50": 0.5, "ap75": 0.4}, cut=229, kept=164))
    page = write_results(folder)
    assert "## val\n\n7 images." in page
    row = "| mine | 0.750 | 0.750 | 0.750 | 0.750 | 0.750 | 0.750 | 0.610 | 0.620 | 0.630 | 1.50 |"
    assert f"{row} 0.440 | 0.031 | 0.27 | 229, 164 |" in page
    assert "- mine: of 40" not in page
    assert (
        "- mine: in 5 of the 7 images the outlines lie within 0.5 px of the drawn ones on the "
        "whole; AP there: 0.750 at 0.5, 0.750 at 0.7, 0.750 at 0.9." in page
    )
    assert "- mine: `python -m training evaluate mine`" in page


def test_what_became_of_the_instances_stands_below_the_table(folder: Path) -> None:
    counts = {"found": 30, "missed": 4, "merged": 3, "pieces": 2, "misdrawn": 1, "spurious": 5}
    write(folder, "a", record(faults=counts))
    assert (
        "- mine: of 40 drawn 30 found, 4 missed, 3 merged, 2 in pieces, 1 misdrawn; "
        "5 where none is." in write_results(folder)
    )


def degraded(**changes: Any) -> dict[str, Any]:
    figures = {"mean_ap": 0.512, "ap": {"0.5": 0.634}}
    return {
        "model": "mine",
        "title": "val-degraded",
        "command": "python -m training robustness mine",
        "images": 7,
        "strength": 0.5,
        "clean": {"mean_ap": 0.7, "ap": {"0.5": 0.8}},
        "degraded": {"noise": figures, "blur": figures},
    } | changes


def test_degraded_images_have_a_table_with_a_column_for_each_model(folder: Path) -> None:
    other = {"noise": {"mean_ap": 0.1, "ap": {"0.5": 0.2}}}
    write(folder, "a", degraded())
    write(folder, "b", degraded(model="other", degraded=other))
    page = write_results(folder)
    assert "## val-degraded: 7 images\n" in page
    assert "with a strength of 0.5." in page
    assert "| images | mine | other |" in page
    assert "| as they are | 0.700 (0.800) | 0.700 (0.800) |" in page
    assert "| noise | 0.512 (0.634) | 0.100 (0.200) |" in page
    assert "| blur | 0.512 (0.634) |  |" in page
    assert "- mine: `python -m training robustness mine`" in page


def test_every_row_has_the_columns_of_the_head(folder: Path) -> None:
    write(folder, "a", record(title="stardist_test"))
    lines = [line for line in write_results(folder).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 1 + 6
    assert {line.count("|") for line in lines} == {16}


def test_published_rows_stand_beside_ours_and_the_gap_is_said(folder: Path) -> None:
    write(folder, "a", record(title="usiigaci_test"))
    page = write_results(folder)
    assert "| EmbedSeg | 0.704 | 0.273 | 0.000 |" in page
    assert (
        "- mine against EmbedSeg: 0.046 ahead in AP@0.5, 0.477 ahead in AP@0.7, "
        "0.750 ahead in AP@0.9." in page
    )


def test_being_behind_is_said_too(folder: Path) -> None:
    write(folder, "a", record(title="stardist_test"))
    page = write_results(folder)
    assert "mine against EmbedSeg: 0.126 behind in AP@0.5, 0.018 behind in AP@0.7" in page
    assert "0.035 ahead in mean AP." in page


def test_what_differs_by_less_than_is_shown_is_level(folder: Path) -> None:
    even = record(title="usiigaci_test")
    even["ap"] = {**even["ap"], "0.5": 0.7044, "0.9": -0.0004}
    write(folder, "a", even)
    assert "level in AP@0.5, 0.477 ahead in AP@0.7, level in AP@0.9." in write_results(folder)


def test_an_ablation_says_what_each_part_is_worth(folder: Path) -> None:
    rows = [
        {"foreground": a, "grouping": b, **record(mean_ap=mean)}
        for a, b, mean in (
            ("predicted", "clustering", 0.6),
            ("predicted", "true centres", 0.65),
            ("true", "clustering", 0.8),
            ("true", "true centres", 0.9),
        )
    ]
    write(folder, "a", {**record(), "rows": rows})
    page = write_results(folder)
    assert "## What costs accuracy: mine" in page
    assert "Mean AP changes by +0.200 with the true foreground and by +0.050 with" in page
    assert "| true | true centres | 0.750 | 0.750 | 0.750 | 0.900 | 1.50 |" in page


def test_methods_stand_side_by_side_the_best_first(folder: Path) -> None:
    rows = [
        {"foreground": a, "grouping": b, **record(mean_ap=mean)}
        for a, b, mean in (("true", "clustering", 0.81), ("predicted", "true centres", 0.66))
    ]
    write(folder, "a", record(model="compare-recurrent", mean_ap=0.3))
    write(folder, "b", record(model="compare-metric_learning", mean_ap=0.6))
    write(folder, "c", {**record(model="compare-recurrent"), "rows": rows})
    page = write_results(folder)
    first = "| metric learning | 0.750 | 0.750 | 0.750 | 0.600 |  |  | 1.50 |"
    second = "| recurrent | 0.750 | 0.750 | 0.750 | 0.300 | 0.810 | 0.660 | 1.50 |"
    assert f"{first}\n{second}\n" in page
    assert "## val" not in page


def test_methods_have_a_table_for_each_set_of_images(folder: Path) -> None:
    write(folder, "a", record(model="compare-recurrent", title="test", mean_ap=0.3))
    write(folder, "b", record(model="compare-recurrent", title="val", mean_ap=0.6))
    page = write_results(folder)
    assert page.count("## Methods\n") == 1
    on_test, on_val = page.split(" images of val.")
    assert "| 0.300 |" in on_test.split(" images of test.")[1]
    assert "| 0.600 |" in on_val


def test_the_page_in_the_repository_is_what_its_records_say() -> None:
    page = (ROOT / "docs" / "RESULTS.md").read_text()
    assert page == write_results(ROOT / "docs" / "results"), "run `python -m training table`"
