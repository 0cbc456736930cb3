"""The page's scripts, run by Node against the shared vectors; and what the page weighs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

WEB = Path(__file__).parents[2] / "service/web"


def test_the_scripts_pass_the_shared_vectors(node: str) -> None:
    vectors = Path(__file__).with_name("vectors.mjs")
    done = subprocess.run([node, "--test", vectors], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "# pass 0" not in done.stdout


def test_the_page_weighs_less_than_150_kilobytes_examples_included() -> None:
    files = [path for path in WEB.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 150_000


def test_the_page_names_all_of_its_scripts_so_that_none_waits_for_another_to_ask_for_it() -> None:
    scripts = {path.name for path in WEB.glob("*.js")} - {"main.js", "docs.js"}
    ahead = re.findall(r'rel="modulepreload" href="web/([\w.]+)"', (WEB / "index.html").read_text())
    assert sorted(ahead) == sorted(scripts)


def test_no_page_style_or_script_names_another_host() -> None:
    texts = [path.read_text() for path in WEB.rglob("*") if path.suffix in {".html", ".css", ".js"}]
    namespaces = {"http://www.w3.org/2000/svg"}
    found = {
        url for text in texts for url in re.findall(r"(?:https?:)?//[\w.-]+\.\w+[\w/.-]*", text)
    }
    assert found - namespaces == set()
