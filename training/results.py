"""docs/RESULTS.md, rebuilt from recorded evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PUBLISHED = (
    ("StarDist", 0.864, 0.685, 0.119),
    ("Mask R-CNN", 0.832, 0.684, 0.189),
    ("Cellpose (public model)", 0.868, 0.755, 0.234),
    ("Cellpose (trained on it)", 0.853, 0.768, 0.402),
    ("Neven et al.", 0.873, 0.762, 0.373),
    ("EmbedSeg", 0.876, 0.768, 0.399),
)
"""AP at IoU 0.5, 0.7, 0.9, mean over the 50 images of the StarDist subset's test list, as the
authors of EmbedSeg report them (Lalit, Tomancak, Jug, Medical Image Analysis, 2022)."""


def write_results(records: Path) -> str:
    """Write the page as Markdown.

    Parameters
    ----------
    records : Path
        Folder of what `training evaluate --record` wrote, and ``introduction.md``, which stands
        before the tables.

    Returns
    -------
    str
        One table per test set, published rows beside ours where there are any.
    """
    loaded = [json.loads(path.read_text()) for path in sorted(records.glob("*.json"))]
    titles = list(dict.fromkeys(record["title"] for record in loaded))
    parts = [(records / "introduction.md").read_text().strip()]
    for title in titles:
        rows = [record for record in loaded if record["title"] == title]
        parts.append(_section(title, rows))
    return "\n\n".join(parts) + "\n"


def _section(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = [
        f"## {title}",
        "",
        f"{rows[0]['images']} images; AP is TP / (TP + FP + FN), mean over images; "
        "mean AP over IoU 0.5 to 0.9.",
        "",
        "| model | AP@0.5 | AP@0.7 | AP@0.9 | mean AP | pooled AP@0.5 | PQ | SBD | count error |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    ours = [_row(row) for row in rows]
    published = []
    if title == "stardist_test":
        published = [
            f"| {name} | {low:.3f} | {mid:.3f} | {high:.3f} | | | | | |"
            for name, low, mid, high in PUBLISHED
        ]
    commands = [f"- {row['model']}: `{row['command']}`" for row in rows]
    return "\n".join([*head, *ours, *published, "", *commands])


def _row(row: Mapping[str, Any]) -> str:
    ap = row["ap"]
    figures = [
        *(f"{ap[t]:.3f}" for t in ("0.5", "0.7", "0.9")),
        f"{row['mean_ap']:.3f}",
        f"{row['ap_pooled']['0.5']:.3f}",
        f"{row['pq']:.3f}",
        f"{row['sbd']:.3f}",
        f"{row['abs_dic']:.2f}",
    ]
    return f"| {row['model']} | " + " | ".join(figures) + " |"
