"""The page of a server that wants to see a key."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys

from service.api.auth import make_key
from tests.scenes import running_server, write_scenes_model
from tests.web.page import DISCS, Page


@pytest.fixture(scope="module")
def key_and_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("keys")
    write_scenes_model(folder / "repository")
    key, line = make_key("visitor")
    (folder / "keys").write_text(line)
    with running_server(folder / "repository", api_keys_file=folder / "keys") as address:
        yield key, address


@pytest.fixture
def locked(browser_of: tuple[Chrome, Path], key_and_server: tuple[str, str]) -> Page:
    """The page, as somebody without a key finds it."""
    browser, downloads = browser_of
    page = Page(browser, key_and_server[1], downloads)
    browser.get(f"{page.address}/")
    page.script("sessionStorage.clear()")
    browser.refresh()
    page.until(lambda: page.find("key-form").is_displayed())
    return page


def enter(page: Page, key: str) -> None:
    ActionChains(page.browser).send_keys(key, Keys.ENTER).perform()


def test_the_page_asks_for_a_key_in_the_servers_words(locked: Page) -> None:
    assert locked.text("problem-title") == "An API key is needed"
    assert "key" in locked.text("problem-detail")
    assert locked.script("return document.activeElement.id") == "key"


def test_a_wrong_key_is_refused_and_the_right_one_opens_the_page(
    locked: Page, key_and_server: tuple[str, str], scene_file: Path
) -> None:
    first = locked.text("problem-id")
    enter(locked, "wrong")
    locked.until(lambda: locked.text("problem-id") not in {"", first})
    assert locked.find("key-form").is_displayed()
    enter(locked, key_and_server[0])
    locked.until(lambda: not locked.find("problem").is_displayed())
    locked.choose_file(scene_file).shows(DISCS)


def test_a_key_copied_together_with_its_quotation_marks_opens_the_page(
    locked: Page, key_and_server: tuple[str, str]
) -> None:
    enter(locked, f"\u201c{key_and_server[0]}\u201d")
    locked.until(lambda: not locked.find("problem").is_displayed())


def test_the_key_is_kept_for_the_tab_and_the_lines_name_it_without_telling_it(
    locked: Page, key_and_server: tuple[str, str], scene_file: Path
) -> None:
    key, _ = key_and_server
    enter(locked, key)
    locked.load().choose_file(scene_file).shows(DISCS)
    curl = locked.text("lines")
    assert key not in curl
    done = subprocess.run(
        ["sh", "-c", curl], cwd=scene_file.parent, env={**os.environ, "DISCERN_API_KEY": key},
        capture_output=True, check=True,
    )  # fmt: skip
    assert b'"instances"' in done.stdout
    locked.find("tab-python").click()
    assert 'api_key=os.environ["DISCERN_API_KEY"]' in locked.text("lines")


def test_a_key_that_is_taken_back_is_asked_for_again(
    locked: Page, key_and_server: tuple[str, str], scene_file: Path
) -> None:
    enter(locked, key_and_server[0])
    locked.load()
    locked.script("sessionStorage.setItem('discern-key', 'stale')")
    locked.choose_file(scene_file)
    locked.until(lambda: locked.find("key-form").is_displayed())
    enter(locked, key_and_server[0])
    locked.shows(DISCS)
