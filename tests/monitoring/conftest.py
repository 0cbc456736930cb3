from __future__ import annotations

import os

import pytest

from tests.monitoring.install import find


def located(program: str) -> str:
    path = find(program)
    if path:
        return path
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed, and CI must test it: make prometheus-install")
    return pytest.skip(f"{program} is not installed: make prometheus-install")


@pytest.fixture(scope="session")
def promtool() -> str:
    return located("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    return located("prometheus")
