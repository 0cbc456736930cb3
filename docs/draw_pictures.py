"""Draw the pictures of these pages again, from generated images alone: ``make pictures``.

Starts a gateway on the shipped models, asks it for panels, and photographs the web page with
headless Chromium.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from discern.client import Client
from tests.live import LiveGateway

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs/images"
EXAMPLES = ROOT / "service/web/examples"
SHOWN = {"nuclei": "nuclei-dense.jpg", "sticks": "sticks.png"}
"""The models whose panels the pages show, and an example for each."""

SHOTS = {
    "page-light": (1360, 980, "light"),
    "page-dark": (1360, 980, "dark"),
    "page-phone": (400, 860, "light"),
}


def main() -> int:
    """Write every picture."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with LiveGateway() as gateway:
        with Client(gateway.address) as client:
            for model, example in SHOWN.items():
                panels = client.render(EXAMPLES / example, "panels_png", model=model)
                (IMAGES / f"panels-{model}.png").write_bytes(panels)
            _draw_scales(client, IMAGES / "scale.png")
            _draw_channels(client, IMAGES / "channel.png")
        with _browser() as browser:
            for name, (width, height, scheme) in SHOTS.items():
                _photograph(browser, gateway.address, IMAGES / f"{name}.png", width, height, scheme)
    return 0


def _draw_scales(client: Client, path: Path) -> None:
    """Draw what is found of nuclei magnified four times: as they are, and at a scale of 1/4."""
    with Image.open(ROOT / "examples/nuclei.png") as example:
        corner = example.convert("RGB").crop((128, 0, 256, 128))
    magnified = io.BytesIO()
    corner.resize((512, 512), Image.Resampling.BICUBIC).save(magnified, "PNG")
    both = Image.new("RGB", (1040, 512), "white")
    for place, scale in ((0, 1.0), (528, 0.25)):
        overlay = client.render(magnified.getvalue(), "overlay_png", scale=scale)
        both.paste(Image.open(io.BytesIO(overlay)), (place, 0))
    both.save(path)


def _draw_channels(client: Client, path: Path) -> None:
    """Draw what is found in a composite whose blue channel shows nuclei: in all, and in that."""
    with Image.open(ROOT / "examples/nuclei.png") as example:
        nuclei = np.asarray(example.convert("L"))
    composite = np.zeros((*nuclei.shape, 3), np.uint8)
    composite[..., 0] = np.random.default_rng(0).integers(0, 90, nuclei.shape)
    composite[..., 1] = 40 + 40 * np.sin(np.arange(nuclei.shape[1]) / 9)
    composite[..., 2] = nuclei
    height, width = nuclei.shape
    both = Image.new("RGB", (2 * width + 16, height), "white")
    for place, channel in ((0, {}), (width + 16, {"channel": 2})):
        overlay = client.render(composite, "overlay_png", **channel)
        both.paste(Image.open(io.BytesIO(overlay)), (place, 0))
    both.save(path)


@contextmanager
def _browser() -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as profile:
        for switch in ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                       "--no-first-run", "--disable-background-networking",
                       f"--user-data-dir={profile}"):  # fmt: skip
            options.add_argument(switch)
        browser = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
        try:
            yield browser
        finally:
            browser.quit()


def _photograph(
    browser: Chrome, address: str, path: Path, width: int, height: int, scheme: str
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(address)
    wait = WebDriverWait(browser, 60)
    wait.until(lambda page: page.find_element(By.ID, "model").text)
    browser.find_element(By.ID, "file").send_keys(str(EXAMPLES / SHOWN["nuclei"]))
    wait.until(lambda page: page.find_element(By.ID, "space").is_displayed())
    time.sleep(0.5)  # the strip below the picture is drawn last
    browser.save_screenshot(str(path))


if __name__ == "__main__":
    sys.exit(main())
