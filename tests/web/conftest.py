"""A real browser in front of a real server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.scenes import draw_scene, png_of, running_server, write_scenes_model
from tests.web.page import Page

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
)


def _missing(tool: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{tool} is not installed, and CI must test the page with it")
    pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="session")
def node() -> str:
    """Node, to run the page's scripts without a browser."""
    found = shutil.which("node")
    if found is None:
        _missing("node")
    return str(found)


@pytest.fixture(scope="session")
def scene_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a gateway with the network that knows every scene."""
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    write_scenes_model(repository, "twin")
    with running_server(repository) as address:
        yield address


@pytest.fixture(scope="session")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of discs, 256 x 256."""
    image, _ = draw_scene(1, height=256, width=256, count=20)
    file = tmp_path_factory.mktemp("pictures") / "discs.png"
    file.write_bytes(png_of(image))
    return file


@pytest.fixture(scope="session")
def open_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Chrome]]:
    """Open browsers that close with the test run."""
    opened: list[Chrome] = []

    def start(*switches: str, downloads: Path | None = None) -> Chrome:
        if CHROMIUM is None or CHROMEDRIVER is None:
            _missing("chromium")
        options = ChromeOptions()
        options.binary_location = str(CHROMIUM)
        profile = tmp_path_factory.mktemp("profile")
        for switch in (*SWITCHES, *switches, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.add_experimental_option(
            "prefs",
            {
                "download.default_directory": str(downloads or profile),
                "profile.default_content_setting_values.automatic_downloads": 1,
            },
        )
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = Chrome(options=options, service=ChromeService(str(CHROMEDRIVER)))
        opened.append(browser)
        return browser

    yield start
    for browser in opened:
        browser.quit()


@pytest.fixture(scope="module")
def browser_of(
    open_browser: Callable[..., Chrome], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Chrome, Path]:
    downloads = tmp_path_factory.mktemp("downloads")
    browser = open_browser(downloads=downloads)
    browser.set_window_size(1280, 1000)
    return browser, downloads


@pytest.fixture
def page(browser_of: tuple[Chrome, Path], scene_server: str) -> Iterator[Page]:
    """The page, which must leave nothing in the console."""
    made = Page(browser_of[0], scene_server, browser_of[1]).load()
    made.complaints()
    yield made
    assert made.complaints() == []
