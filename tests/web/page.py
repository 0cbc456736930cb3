"""The page in a browser, as a person meets it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

DISCS = 19
"""Instances in `scene_file`."""


@dataclass(frozen=True, slots=True)
class Page:
    """The page in a browser, with what a person does to it."""

    browser: Chrome
    address: str
    downloads: Path

    def load(self) -> Page:
        """Open the page afresh and wait until it may be used."""
        self.browser.get(f"{self.address}/")
        self.until(lambda: self.find("examples").find_elements(By.TAG_NAME, "button"))
        return self

    def find(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def script(self, code: str, *arguments: object) -> Any:
        return self.browser.execute_script(code, *arguments)

    def until(self, holds: Callable[[], object], seconds: float = 30) -> None:
        WebDriverWait(self.browser, seconds, 0.02).until(lambda _: holds())

    def text(self, name: str) -> str:
        return self.find(name).text

    def hold(self, pattern: str) -> None:
        """Keep back, until `release`, every request whose address matches a regular expression."""
        self.script(
            "const send = fetch; window.held = [];"
            "window.fetch = (...call) => new RegExp(arguments[0]).test(call[0])"
            " ? new Promise((go) => held.push(() => go(send(...call)))) : send(...call)", pattern,
        )  # fmt: skip

    def held(self) -> int:
        found: int = self.script("return held.length")
        return found

    def release(self) -> None:
        """Let the oldest request go that is held."""
        self.script("held.shift()()")

    def choose_file(self, file: Path) -> Page:
        self.find("file").send_keys(str(file))
        return self

    def count(self) -> int:
        return len(self.find("instances").find_elements(By.TAG_NAME, "li"))

    def shows(self, instances: int) -> Page:
        """Wait until so many instances are on screen and the page rests."""
        self.until(lambda: self.count() == instances and not self.find("busy").is_displayed())
        return self

    def slide(self, name: str, value: float) -> None:
        self.script(
            "const s = document.getElementById(arguments[0]); s.valueAsNumber = arguments[1];"
            "s.dispatchEvent(new Event('input'))", name, value,
        )  # fmt: skip

    def pixel(self, layer: str, x: int, y: int) -> list[int]:
        """Colour and opacity of one pixel of a canvas."""
        code = "return [...document.getElementById(arguments[0]).getContext('2d').getImageData("
        found: list[int] = self.script(
            code + "arguments[1], arguments[2], 1, 1).data]", layer, x, y
        )
        return found

    def download(self, name: str) -> bytes:
        """Press a button of the panel Save and return the file."""
        before = set(self.downloads.iterdir())
        self.find(f"save-{name}").click()
        self.until(lambda: self._complete(before))
        (path,) = self._complete(before)
        data = path.read_bytes()
        path.unlink()
        return data

    def _complete(self, before: set[Path]) -> set[Path]:
        """What is new and whole: Chromium first holds the place with an empty file."""
        new = set(self.downloads.glob("[!.]*")) - before  # hidden ones are its own, and vanish
        return {path for path in new if path.suffix != ".crdownload" and path.stat().st_size}

    def complaints(self) -> list[str]:
        """What the console says of broken scripts and rules; refused requests are expected."""
        entries = self.browser.get_log("browser")  # type: ignore[no-untyped-call]
        severe = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        return [message for message in severe if "with a status of" not in message]
