"""What is said of models while no server answers, and while one is unloaded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from service.backends import triton, triton_models
from service.backends.base import Model
from service.backends.triton import TritonBackend
from service.backends.triton_servers import Servers
from service.domain import Category
from service.errors import BackendUnavailable
from service.recipe import Recipe
from tests.scenes import write_scenes_model
from tests.triton_server.server import LOOPBACK, free_port


async def test_no_server_is_no_fault_of_the_callers_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton, "PROBE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(triton_models, "CONTROL_TIMEOUT_S", 0.2)
    backend = TritonBackend([f"{LOOPBACK}:{free_port()}"], wait_s=10.0)
    try:
        await backend.start()
        with pytest.raises(BackendUnavailable, match="no inference server answered"):
            await backend.models()
    finally:
        await backend.aclose()


async def test_a_model_that_is_unloaded_meanwhile_takes_no_other_along(tmp_path: Path) -> None:
    folder = write_scenes_model(tmp_path)
    config = text_format.Parse(
        (folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )

    async def index(*_: Any, **__: Any) -> service_pb2.RepositoryIndexResponse:
        names = [{"name": "gone", "version": "1"}, {"name": "scenes", "version": "1"}]
        return service_pb2.RepositoryIndexResponse(models=names)

    async def describe(
        request: service_pb2.ModelConfigRequest, **_: Any
    ) -> service_pb2.ModelConfigResponse:
        if request.name == "gone":
            nothing = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, nothing, nothing)
        return service_pb2.ModelConfigResponse(config=config)

    server = SimpleNamespace(stub=SimpleNamespace(RepositoryIndex=index, ModelConfig=describe))
    servers = SimpleNamespace(call=lambda _, read: read(server))
    catalogue = triton_models.Catalogue(cast(Servers, servers))
    assert [model.name for model in await catalogue.models()] == ["scenes"]


RECIPE = Recipe(
    method="discriminative", embedding_size=2, classes=(Category(1, "object"),), size_multiple=1
)


@dataclass
class Hung:
    """Servers of one model, one of which hears what is asked and says nothing."""

    model: Model
    asked: int = 0
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self) -> bool:
        return True

    async def call(self, *_: object) -> dict[tuple[str, str], Model]:
        self.asked += 1
        model = self.model
        await self.answers.wait()
        return {(model.name, model.version): model}


async def that_knows_its_model(servers: Hung) -> triton_models.Catalogue:
    """A catalogue of servers that have answered once, and do not from now on."""
    servers.answers.set()
    catalogue = triton_models.Catalogue(cast(Servers, servers))
    await catalogue.models()
    servers.answers.clear()
    return catalogue


async def test_what_is_known_of_models_holds_while_a_server_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton_models, "PROBE_TIMEOUT_S", 0.1)
    servers = Hung(Model("scenes", "1", RECIPE))
    catalogue = await that_knows_its_model(servers)
    servers.model = replace(servers.model, version="2")
    catalogue.forget()
    found = await asyncio.gather(*(catalogue.find("scenes", None) for _ in range(4)))
    assert [model.version for model in found] == ["1"] * 4
    assert servers.asked == 2
    servers.answers.set()
    await catalogue.models()
    assert (await catalogue.find("scenes", None)).version == "2"
    assert servers.asked == 2


async def test_a_model_is_not_denied_while_a_server_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triton_models, "PROBE_TIMEOUT_S", 0.0)
    servers = Hung(Model("scenes", "1", RECIPE))
    catalogue = await that_knows_its_model(servers)
    servers.model = replace(servers.model, name="loaded-since")
    catalogue.forget()
    asking = asyncio.create_task(catalogue.find("loaded-since", None))
    for _ in range(10):  # more turns than it takes to give up the first time
        await asyncio.sleep(0)
    servers.answers.set()
    assert (await asking).name == "loaded-since"


async def test_what_was_asked_before_a_load_does_not_tell_what_is_there_after_it() -> None:
    servers = Hung(Model("scenes", "1", RECIPE))
    catalogue = triton_models.Catalogue(cast(Servers, servers))
    before = asyncio.create_task(catalogue.find("scenes", None))
    for _ in range(2):  # one turn for the task, one for the question that it asks
        await asyncio.sleep(0)
    assert servers.asked == 1
    servers.model = replace(servers.model, version="2")
    catalogue.forget()
    after = asyncio.create_task(catalogue.models())
    await asyncio.sleep(0)
    servers.answers.set()
    assert [model.version for model in await after] == ["2"]
    await before


async def test_an_answer_counts_though_a_call_fails_for_want_of_its_model_meanwhile() -> None:
    servers = Hung(Model("scenes", "1", RECIPE))
    catalogue = await that_knows_its_model(servers)
    servers.model = replace(servers.model, version="2")
    asking = asyncio.create_task(catalogue.models())
    for _ in range(2):
        await asyncio.sleep(0)
    catalogue.forget()
    servers.answers.set()
    assert [model.version for model in await asking] == ["2"]
