"""docs/RESULTS.md, rebuilt from recorded evaluations: every figure on it comes from a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.metrics.faults import Faults
from training.metrics.score import ALIKE_PX
from training.report import degraded_table, method_table
from training.report.network_table import table
from training.report.published import PUBLISHED, REFERENCE, Published

Record = Mapping[str, Any]

COLUMNS = (
    "AP@0.5", "AP@0.7", "AP@0.9", "mean AP", "pooled AP@0.5", "pooled F1@0.5", "PQ", "SBD", "FBD",
    "count error", "COCO AP", "score error", "outline, px", "cut, kept whole",
)  # fmt: skip

SHOWN = ("0.5", "0.7", "0.9")
"""IoU thresholds of the columns."""

DIRECT = ("predicted", "clustering")
"""The row of an ablation in which nothing is replaced by the truth."""


def write_results(records: Path) -> str:
    """Write the page as Markdown.

    Parameters
    ----------
    records : Path
        Folder of what `training evaluate --record` and `training ablate --record` wrote, and of
        ``introduction.md``, which stands before the tables.

    Returns
    -------
    str
        One table per ablation and per test set, published rows beside ours where there are any.
    """
    loaded = [json.loads(path.read_text()) for path in sorted(records.glob("*.json"))]
    degraded = [record for record in loaded if degraded_table.is_degraded(record)]
    loaded = [record for record in loaded if not degraded_table.is_degraded(record)]
    compared = [record for record in loaded if method_table.is_compared(record)]
    loaded = [record for record in loaded if not method_table.is_compared(record)]
    scores = [record for record in loaded if "rows" not in record and "networks" not in record]
    titles = list(dict.fromkeys(record["title"] for record in scores))
    parts = [(records / "introduction.md").read_text().strip()]
    parts += [_ablation(record) for record in loaded if "rows" in record]
    parts += [_methods(compared)] if compared else []
    parts += [_networks(record, records) for record in loaded if "networks" in record]
    for title in titles:
        parts.append(_section(title, [record for record in scores if record["title"] == title]))
    for title in dict.fromkeys(record["title"] for record in degraded):
        alike = [record for record in degraded if record["title"] == title]
        parts.append(degraded_table.section(alike, level=2))
    return "\n\n".join(parts) + "\n"


def _methods(compared: Sequence[Record]) -> str:
    titles = dict.fromkeys(record["title"] for record in compared)
    sections = [
        _methods_on(title, [record for record in compared if record["title"] == title])
        for title in titles
    ]
    return "\n\n".join(["## Methods", *sections])


def _methods_on(title: str, compared: Sequence[Record]) -> str:
    lines = [
        "One small U-Net (`training/configs/compare.toml`), the same data, crops and number of "
        f"steps for each, on the {compared[0]['images']} images of {title}. Beside it the mean AP "
        "with the true foreground in place of the predicted one, and with the mean vectors of the "
        "true instances in place of the clustering.",
        "",
        *method_table.table(compared),
        "",
        *(f"- `{record['command']}`" for record in compared),
    ]
    return "\n".join(lines)


def _networks(record: Record, records: Path) -> str:
    lines = [
        "## Networks",
        "",
        "Each in its own widths, as it is served, timed in turn by ONNX Runtime with "
        f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}; accuracy where a "
        "record of the same short run exists.",
        "",
        *table(record, records),
        "",
        f"`{record['command']}`",
    ]
    return "\n".join(lines)


def _section(title: str, rows: Sequence[Record]) -> str:
    published = PUBLISHED.get(title, ())
    lines = [
        f"## {title}",
        "",
        f"{rows[0]['images']} images.",
        "",
        *_table(("model", *COLUMNS)),
        *(f"| {row['model']} | {' | '.join(_figures(row))} |" for row in rows),
        *(_published_row(row) for row in published),
        "",
        *(
            f"- {_against(row, best)}"
            for best in published
            if best.name == REFERENCE
            for row in rows
        ),
        *(f"- {row['model']}: {Faults(**row['faults'])}." for row in rows if "faults" in row),
        *(f"- {_alike(row)}" for row in rows if row.get("drawn_alike", {}).get("ap")),
        *(f"- {row['model']}: `{row['command']}`" for row in rows),
    ]
    return "\n".join(lines)


def _alike(row: Record) -> str:
    """Say what is reached where outlines are drawn as the network draws them."""
    alike = row["drawn_alike"]
    ap = ", ".join(f"{alike['ap'][threshold]:.3f} at {threshold}" for threshold in SHOWN)
    return (
        f"{row['model']}: in {alike['images']} of the {row['images']} images the outlines lie "
        f"within {ALIKE_PX} px of the drawn ones on the whole; AP there: {ap}."
    )


def _table(names: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]


def _figures(row: Record) -> list[str]:
    pieces = f"{row['cut']}, {row['kept']}" if row["cut"] else ""
    return [
        *(f"{row['ap'][threshold]:.3f}" for threshold in SHOWN),
        f"{row['mean_ap']:.3f}",
        f"{row['ap_pooled']['0.5']:.3f}",
        f"{row['f1_pooled']['0.5']:.3f}",
        *(f"{row[name]:.3f}" for name in ("pq", "sbd", "fbd")),
        f"{row['abs_dic']:.2f}",
        f"{row['coco']['ap']:.3f}" if "coco" in row else "",
        f"{row['calibration_error']:.3f}" if "calibration_error" in row else "",
        f"{row['outline_px']:.2f}" if "outline_px" in row else "",
        pieces,
    ]


def _published_row(row: Published) -> str:
    mean = "" if row.mean_ap is None else f"{row.mean_ap:.3f}"
    cells = [row.name, *(f"{row.ap[threshold]:.3f}" for threshold in SHOWN), mean]
    return f"| {' | '.join(cells)} |" + " |" * (len(COLUMNS) + 1 - len(cells))


def _against(row: Record, other: Published) -> str:
    """Say in words how a row compares with a published one."""
    gaps = [
        _gap(row["ap"][threshold] - other.ap[threshold], f"AP@{threshold}") for threshold in SHOWN
    ]
    if other.mean_ap is not None:
        gaps.append(_gap(row["mean_ap"] - other.mean_ap, "mean AP"))
    return f"{row['model']} against {other.name}: {', '.join(gaps)}."


def _gap(value: float, name: str) -> str:
    if round(value, 3) == 0:
        return f"level in {name}"
    return f"{abs(value):.3f} {'ahead' if value > 0 else 'behind'} in {name}"


def _ablation(record: Record) -> str:
    direct = next(row for row in record["rows"] if (row["foreground"], row["grouping"]) == DIRECT)
    names = ("foreground", "grouping", *(f"AP@{t}" for t in SHOWN), "mean AP", "count error")
    rows = [
        f"| {row['foreground']} | {row['grouping']} | "
        + " | ".join(f"{row['ap'][threshold]:.3f}" for threshold in SHOWN)
        + f" | {row['mean_ap']:.3f} | {row['abs_dic']:.2f} |"
        for row in record["rows"]
    ]
    changes = [
        f"{row['mean_ap'] - direct['mean_ap']:+.3f} with {what}"
        for what, key in (
            ("the true foreground", ("true", "clustering")),
            ("the true centres", ("predicted", "true centres")),
        )
        for row in record["rows"]
        if (row["foreground"], row["grouping"]) == key
    ]
    lines = [
        f"## What costs accuracy: {record['model']}",
        "",
        "The ablation of arXiv:1708.02551 (Table 2): truth put in place of one part of the answer "
        f"at a time, on the {record['images']} images of {record['title']}.",
        "",
        *_table(names),
        *rows,
        "",
        f"Mean AP changes by {' and by '.join(changes)}.",
        "",
        f"`{record['command']}`",
    ]
    return "\n".join(lines)
