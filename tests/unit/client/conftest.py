"""A real gateway for the client to talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenes import running_server, write_scenes_model


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repository = tmp_path_factory.mktemp("repository")
    write_scenes_model(repository)
    with running_server(repository) as address:
        yield address
