from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from release.changelog import HEADING, subjects, with_entry

SENTENCES = st.lists(
    st.text("abc ", min_size=1).map(lambda text: f"Add {text.strip()}x"), max_size=4
)


def test_the_first_entry_follows_the_heading() -> None:
    written = with_entry("", "1.0.0", "2026-11-21", ["Add a thing"])
    assert written == f"{HEADING}\n## 1.0.0, 2026-11-21\n\n- Add a thing\n"


@given(SENTENCES, SENTENCES)
def test_an_entry_written_twice_stands_once_with_its_last_lines(
    first: list[str], last: list[str]
) -> None:
    once = with_entry("", "1.0.0", "2026-11-21", last)
    assert (
        with_entry(with_entry("", "1.0.0", "2026-11-20", first), "1.0.0", "2026-11-21", last)
        == once
    )


@given(SENTENCES, SENTENCES)
def test_older_entries_stay_as_they_are_below_the_new_one(old: list[str], new: list[str]) -> None:
    before = with_entry("", "1.0.0", "2026-01-01", old)
    after = with_entry(before, "1.1.0", "2026-02-01", new)
    assert after.index("## 1.1.0") < after.index("## 1.0.0")
    assert after.endswith(before.removeprefix(HEADING).rstrip() + "\n")


def test_commits_since_the_last_tag_are_told_oldest_first(tmp_path: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (
        ["init", "-q"],
        [*identity, "commit", "-qm", "Old", "--allow-empty"],
        [*identity, "tag", "-am", "release", "v1"],
        [*identity, "commit", "-qm", "Add one", "--allow-empty"],
        [*identity, "commit", "-qm", "Add two", "--allow-empty"],
    ):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    assert subjects(tmp_path) == ["Add one", "Add two"]
