"""Write the tables that follow from the code into the pages that show them: ``make docs``.

A generated table stands between ``<!-- generated: NAME -->`` and ``<!-- end of NAME -->``; a test
checks that every page is current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from service.settings import Settings
from service.telemetry.catalogue import catalogue

ROOT = Path(__file__).parents[1]


def settings_table() -> str:
    """Return the table of settings, from the class that reads them."""
    rows = ["| variable | default | what it is |", "|---|---|---|"]
    prefix = Settings.model_config["env_prefix"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        rows.append(f"| `{prefix}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """Return the table of metrics, from the code that exports them."""
    rows = ["| metric | kind | labels | what it is |", "|---|---|---|---|"]
    for entry in catalogue():
        labels = ", ".join(f"`{label}`" for label in entry.labels)
        rows.append(f"| `{entry.name}` | {entry.kind} | {labels} | {entry.text} |")
    return "\n".join(rows)


TABLES: Mapping[str, tuple[str, Callable[[], str]]] = MappingProxyType(
    {
        "settings": ("README.md", settings_table),
        "metrics": ("docs/OPERATIONS.md", metrics_table),
    }
)
"""Page and maker of every generated table, by name."""


def render(page: str, name: str, table: str) -> str:
    """Return the page with the table of that name replaced.

    Raises
    ------
    ValueError
        If the page has no place for it.
    """
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no place marked {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", page)


def main() -> int:
    """Rewrite every page that has a generated table."""
    for name, (file, make) in TABLES.items():
        path = ROOT / file
        path.write_text(render(path.read_text(encoding="utf-8"), name, make()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
