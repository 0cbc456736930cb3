"""The methods side by side: one network, the same data and steps, and what each one lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

PREFIX = "compare-"
"""How the runs of ``training/configs/compare.toml`` are called, before the method."""

INSTEAD: tuple[tuple[str, str], ...] = (
    ("true", "clustering"),
    ("predicted", "true centres"),
)
"""Foreground and grouping of the rows of an ablation that are shown beside the whole."""


def is_compared(record: Record) -> bool:
    """Tell whether a record belongs into this table, and into no other."""
    return str(record.get("model", "")).startswith(PREFIX)


def table(records: Sequence[Record]) -> list[str]:
    """Write what was measured as a Markdown table, the best method first.

    Parameters
    ----------
    records : sequence of mapping
        What ``training evaluate --record`` and ``training ablate --record`` wrote of the runs; a
        method without an ablation has empty cells.
    """
    ablations = {record["model"]: record for record in records if "rows" in record}
    scores = [record for record in records if "rows" not in record]
    lines = [
        "| method | AP@0.5 | AP@0.7 | AP@0.9 | mean AP | with true foreground "
        "| with true centres | count error |",
        "| --- " * 8 + "|",
    ]
    for record in sorted(scores, key=lambda record: -record["mean_ap"]):
        cells = [
            record["model"].removeprefix(PREFIX).replace("_", " "),
            *(f"{record['ap'][threshold]:.3f}" for threshold in ("0.5", "0.7", "0.9")),
            f"{record['mean_ap']:.3f}",
            *_instead(ablations.get(record["model"])),
            f"{record['abs_dic']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _instead(ablation: Record | None) -> list[str]:
    """Give the mean AP with one part of the answer replaced by the truth."""
    rows = [] if ablation is None else ablation["rows"]
    found = {(row["foreground"], row["grouping"]): f"{row['mean_ap']:.3f}" for row in rows}
    return [found.get(key, "") for key in INSTEAD]
