from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveGateway


@pytest.fixture(scope="module")
def gateway() -> Iterator[LiveGateway]:
    with LiveGateway() as live:
        yield live
