"""Speed, size and accuracy of the networks, in the form of Table 3 of arXiv:1708.02551."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def table(record: Mapping[str, Any], records: Path) -> list[str]:
    """Write what was measured as a Markdown table, with accuracy where it is recorded.

    Parameters
    ----------
    record : mapping
        From `training.report.comparison.facts`.
    records : Path
        Folder of what ``training evaluate --record`` wrote.
    """
    lines = [
        f"| network | {record['side']} x {record['side']} px, ms | time / U-Net | parameters "
        "| file, MiB | AP@0.5 | mean AP | scored on |",
        "| --- " * 8 + "|",
    ]
    for one in record["networks"]:
        cells = [
            one["network"],
            f"{one['ms']:.0f}",
            f"{one['ratio']:.2f}",
            f"{one['parameters'] / 1e6:.2f} M",
            f"{one['file_bytes'] / 2**20:.1f}",
            *_accuracy(f"{record['experiment']}-{one['network']}", records),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _accuracy(model: str, records: Path) -> tuple[str, str, str]:
    for path in sorted(records.glob(f"{model}-*.json")):
        score = json.loads(path.read_text())
        if score.get("model") == model and "ap" in score:
            return f"{score['ap']['0.5']:.3f}", f"{score['mean_ap']:.3f}", score["title"]
    return "", "", ""
