"""What a person waits for on the web page: the first mask, and a slider.

``python -m benchmarks.page`` starts the gateway on the shipped models and drives the page in
headless Chromium; it prints the least and the median of the waits, and what the page weighs.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from benchmarks.running_gateway import running_gateway

WEB = Path("service/web")
IMAGE = WEB / "examples/nuclei-sparse.jpg"
REPEATS = 10
MOVE = (
    "delete document.getElementById('stage').dataset.ms;"
    "const s = document.getElementById('foreground_threshold'); s.valueAsNumber = arguments[0];"
    "s.dispatchEvent(new Event('input'))"
)


def main() -> int:
    """Measure and print."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    with running_gateway() as (address, _), tempfile.TemporaryDirectory() as profile:
        for switch in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
            options.add_argument(switch)
        browser = Chrome(options=options, service=ChromeService(str(shutil.which("chromedriver"))))
        try:
            first = [_first_mask(browser, address) for _ in range(REPEATS)]
            slider = [_slider(browser, 0.3 + 0.02 * step) for step in range(REPEATS)]
        finally:
            browser.quit()
    for name, waits in (("first mask", first), ("slider", slider)):
        print(f"{name:11} least {min(waits):6.1f} ms, median {statistics.median(waits):6.1f} ms")
    weight = sum(path.stat().st_size for path in WEB.rglob("*") if path.is_file())
    print(f"page        {weight / 1000:.1f} kB, examples included")
    return 0


def _first_mask(browser: Chrome, address: str) -> float:
    browser.get(address)
    wait = WebDriverWait(browser, 60, 0.01)
    wait.until(lambda page: page.find_element(By.ID, "model").text)
    began = time.perf_counter()
    browser.find_element(By.ID, "file").send_keys(str(IMAGE.resolve()))
    wait.until(lambda page: page.find_element(By.ID, "stage").get_attribute("data-ms"))
    spent = time.perf_counter() - began
    wait.until(lambda page: page.find_element(By.ID, "space").is_displayed())
    return spent * 1e3


def _slider(browser: Chrome, value: float) -> float:
    browser.execute_script(MOVE, value)
    stage = browser.find_element(By.ID, "stage")
    WebDriverWait(browser, 60, 0.01).until(lambda _: stage.get_attribute("data-ms"))
    return float(stage.get_attribute("data-ms") or "nan")


if __name__ == "__main__":
    sys.exit(main())
