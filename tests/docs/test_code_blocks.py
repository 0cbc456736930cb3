"""What the pages tell a reader to type is typed here.

Every block marked ``bash`` or ``python`` runs, in order, in one shell per page, in an empty folder
that holds links to the checkout's examples and models. A block that cannot run offline stands under
``<!-- not executed: why -->``. The address http://127.0.0.1:8000 becomes that of a free port.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/API.md", "docs/TUTORIAL.md")
TALKING_OF_MAKE = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "Dockerfile")
SERVED = ("README.md", "docs/API.md")
"""Pages that take a running server for granted."""

_BLOCK = re.compile(
    r"(?:<!-- not executed: (?P<why>.+?) -->\s*\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TARGET_NAMED = re.compile(r"`make ((?:[a-z-]+ ?)+)`")
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
_COMMAND = re.compile(r"^(?:make|python|pip|curl|discern|docker|kubectl|git) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    why_not: str


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(found["language"], found["code"], found["why"] or "")
        for found in _BLOCK.finditer(text)
    ]


def script_of(blocks: list[Block], port: int) -> str:
    """Write the blocks as one shell script that stops at the first failure."""
    parts = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, block in enumerate(blocks, start=1):
        code = block.code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        parts.append(f"echo '--- block {number}' >&2")
        if block.language == "python":
            parts.append(f"python - <<'END_OF_BLOCK'\n{code}END_OF_BLOCK")
        else:
            parts.append(code)
    return "\n".join(parts) + "\n"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("examples", "model_repository", "training"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


SERVER = """discern serve >serve.log 2>&1 &
until curl -sf http://127.0.0.1:8000/readyz >/dev/null; do kill -0 $! && sleep 0.2; done
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_says_to_type_works(page: str, folder: Path, port: int) -> None:
    runnable = [block for block in blocks_of(page) if block.language in {"bash", "python"}]
    runnable = [block for block in runnable if not block.why_not]
    assert runnable, "a page of commands without a command is no page of commands"
    start = [Block("bash", SERVER, "")] if page in SERVED else []
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DISCERN_PORT": str(port),
        "MINUTES": "0.2",
        "COLUMNS": "200",
    }
    shell = subprocess.Popen(
        ["bash", "-s"], cwd=folder, env=environment, text=True, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        told, _ = shell.communicate(script_of(start + runnable, port), timeout=840)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert shell.returncode == 0, told[-4000:]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_in_a_block_that_runs_or_says_why_not(page: str) -> None:
    silent = [
        block.code
        for block in blocks_of(page)
        if block.language not in {"bash", "python"} and _COMMAND.search(block.code)
    ]
    unexplained = [
        code for code in silent if code not in {b.code for b in blocks_of(page) if b.why_not}
    ]
    assert unexplained == []


def test_every_command_of_make_that_is_named_is_there() -> None:
    there = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    named = {
        (target, page.name)
        for page in TALKING_OF_MAKE
        for targets in _TARGET_NAMED.findall(page.read_text(encoding="utf-8"))
        for target in targets.split()
    }
    assert ("test", "README.md") in named
    assert [pair for pair in named if pair[0] not in there] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_json_block_is_json(page: str) -> None:
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.code)
