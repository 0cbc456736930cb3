"""A whole gateway in this process, on a network that tests can slow down and break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.settings import Settings
from tests.contract.networks import write_model
from tests.unit.gateway.calls import Connect, StartApp


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one model that works, one that can be slow, one that can fail."""
    folder = tmp_path_factory.mktemp("networks")
    for kind in ("plain", "slow", "fail"):
        write_model(folder, kind, kind)
    return folder


@pytest.fixture
async def start_app(networks: Path) -> AsyncIterator[StartApp]:
    """Return a function that starts an application with settings, ended with the test."""
    async with AsyncExitStack() as stack:

        async def start(**settings: object) -> FastAPI:
            given = {"model_repository": networks, "default_model": "plain", "workers": 2}
            app = create_app(Settings(**(given | settings)))  # type: ignore[arg-type]
            await stack.enter_async_context(app.router.lifespan_context(app))
            await app.state.gateway.lifecycle.started.wait()
            return app

        yield start


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Return a function that gives a client of an application, without a network between."""
    async with AsyncExitStack() as stack:

        async def client_of(app: FastAPI) -> httpx2.AsyncClient:
            transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
            return await stack.enter_async_context(
                httpx2.AsyncClient(transport=transport, base_url="http://gateway")
            )

        yield client_of
