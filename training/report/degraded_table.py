"""What is left of models' accuracy on degraded images, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

CLEAN = "as they are"
"""What the row of the images that nothing was done to is called."""


def is_degraded(record: Record) -> bool:
    """Tell whether ``training robustness --record`` wrote a record."""
    return "degraded" in record


def section(records: Sequence[Record], *, level: int) -> str:
    """Write what was measured on one split as Markdown, a column for each model.

    Parameters
    ----------
    records : sequence of mapping
        Of the same images and strength, a model each.
    level : int
        Of the heading.
    """
    first = records[0]
    kinds = {CLEAN: "", **first["degraded"]}
    lines = [
        f"{'#' * level} {first['title']}: {first['images']} images",
        "",
        "Mean AP, and in brackets AP@0.5, of the images as they are, and of the same images made "
        "worse in one way at a time (`training/data/degradations.py`), with a strength of "
        f"{first['strength']:g}.",
        "",
        f"| images | {' | '.join(record['model'] for record in records)} |",
        "| --- " * (len(records) + 1) + "|",
        *(
            f"| {kind} | {' | '.join(_cell(record, kind) for record in records)} |"
            for kind in kinds
        ),
        "",
        *(f"- {record['model']}: `{record['command']}`" for record in records),
    ]
    return "\n".join(lines)


def _cell(record: Record, kind: str) -> str:
    figures = record["clean"] if kind == CLEAN else record["degraded"].get(kind)
    return "" if figures is None else f"{figures['mean_ap']:.3f} ({figures['ap']['0.5']:.3f})"
