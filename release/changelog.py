"""The changelog, from what the commits say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

HEADING: Final = (
    "# Changelog\n\nOne line per commit, newest release first; `make release` writes it.\n"
)


def subjects(root: Path) -> list[str]:
    """Return the subject of every commit since the last tag, oldest first."""
    described = _git(root, "describe", "--tags", "--abbrev=0", check=False).strip()
    span = f"{described}..HEAD" if described else "HEAD"
    return _git(root, "log", "--no-merges", "--reverse", "--format=%s", span).splitlines()


def with_entry(changelog: str, version: str, date: str, lines: list[str]) -> str:
    """Return the changelog with this release's entry first, in place of an earlier one of it.

    Parameters
    ----------
    changelog : str
        As it stands; may be empty.
    version, date : str
        Of the release; the date as in ISO 8601.
    lines : list of str
        One sentence each.
    """
    entry = f"\n## {version}, {date}\n\n" + "".join(f"- {line}\n" for line in lines)
    entries = re.split(r"(?m)^(?=## )", changelog.removeprefix(HEADING).lstrip("\n"))
    others = [old for old in entries if old.strip() and not old.startswith(f"## {version},")]
    return HEADING + entry + "".join(f"\n{old.rstrip()}\n" for old in others)


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout  # noqa: S603  # fixed words
