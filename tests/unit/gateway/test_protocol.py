"""The Open Inference Protocol's routes, pages on problems, and models loaded while serving."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from service.api.problems import BY_CODE
from service.backends.embedded import EmbeddedBackend
from service.errors import BackendFailed
from tests.contract.networks import write_model
from tests.unit.gateway.calls import Call, Connect, StartApp, png, until


async def test_models_and_versions_are_described_and_ready(
    start_app: StartApp, connect: Connect
) -> None:
    client = await connect(await start_app())
    for path in ("/v2/models/plain", "/v2/models/plain/versions/1"):
        described = await client.get(path)
        assert described.json()["inputs"][0]["datatype"] == "UINT8"
        assert (await client.get(f"{path}/ready")).json() == {"name": "plain", "ready": True}
    index = (await client.post("/v2/repository/index")).json()
    assert {entry["name"] for entry in index} == {"plain", "slow", "fail"}


@pytest.mark.parametrize(
    "path", ["/v2/models/none", "/v2/models/plain/versions/9", "/v2/models/none/ready"]
)
async def test_errors_there_have_the_protocols_shape(
    start_app: StartApp, connect: Connect, path: str
) -> None:
    answer = await (await connect(await start_app())).get(path)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


async def test_every_problem_type_points_to_a_page(start_app: StartApp, connect: Connect) -> None:
    client = await connect(await start_app())
    statuses = {(await client.get(f"/problems/{code}")).status_code for code in BY_CODE}
    assert statuses == {200}
    assert (await client.get("/problems/none")).status_code == 404
    assert (await client.get("/problems")).text.count("<li>") == len(BY_CODE)


async def test_a_new_version_takes_over_while_requests_run(
    start_app: StartApp, connect: Connect, tmp_path: Path
) -> None:
    folder = write_model(tmp_path, "slow", "slow")
    app = await start_app(model_repository=tmp_path, default_model="slow")
    client = await connect(app)
    running = Call(app)
    running.send(png(corner=2))
    await until(lambda: app.state.gateway.gate.in_flight)
    shutil.copytree(folder / "1", folder / "2")
    assert (await client.post("/v2/repository/models/slow/load")).status_code == 200
    described = (await client.get("/v2/models/slow")).json()
    assert described["versions"] == ["1", "2"]
    assert await running.answered() == 200
    after = await client.post("/segment", content=png(), headers={"content-type": "image/png"})
    assert after.json()["model"]["version"] == "2"


async def test_a_version_that_does_not_load_leaves_the_one_before(tmp_path: Path) -> None:
    folder = write_model(tmp_path, "plain")
    backend = EmbeddedBackend(tmp_path, threads=1, calls=1)
    await backend.start()
    (folder / "2").mkdir()
    await asyncio.to_thread((folder / "2" / "model.onnx").write_bytes, b"broken")
    with pytest.raises(BackendFailed):
        await backend.load("plain")
    assert [model.version for model in await backend.models()] == ["1"]
    await backend.unload("plain")
    assert await backend.models() == []
    await backend.unload("plain")  # as Triton has it
    await backend.aclose()


async def test_loading_needs_the_right_to_it(start_app: StartApp, connect: Connect) -> None:
    client = await connect(await start_app(host="0.0.0.0", allow_anonymous=True))  # noqa: S104
    refused = await client.post("/v2/repository/models/plain/load")
    assert (refused.status_code, list(refused.json())) == (403, ["error"])
