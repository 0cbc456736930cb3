"""The models of a Triton server: left out, loaded, unloaded, replaced, refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.backends.base import ModelControl
from service.errors import BackendFailed, BackendUnavailable, ModelNotFound
from tests.contract.calls import (
    Open,
    Start,
    becomes,
    context,
    lever,
)
from tests.contract.networks import network, write_model
from tests.triton_server.server import TritonServer
from training.deployment.gpu_config import SIDES, VARIANT, write_variants

pytestmark = pytest.mark.triton


async def test_a_model_without_a_recipe_is_left_out_and_named_in_the_log(
    tmp_path: Path, start_triton: Start, open_triton: Open, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_model(tmp_path, "foreign")
    text = (folder / "config.pbtxt").read_text().replace('"segmentation"', '"other"')
    (folder / "config.pbtxt").write_text(text)
    write_model(tmp_path, "plain")
    backend = open_triton(start_triton(tmp_path).address)
    await backend.start()
    assert [model.name for model in await backend.models()] == ["plain"]
    with pytest.raises(ModelNotFound):
        await backend.model("foreign")
    assert caplog.text.count("model foreign") == 1


async def test_the_variant_for_gpus_loads_where_there_is_none(
    tmp_path: Path, start_triton: Start, open_triton: Open
) -> None:
    write_model(tmp_path, "plain")
    write_variants(tmp_path)
    backend = open_triton(start_triton(tmp_path, f"--model-config-name={VARIANT}").address)
    await backend.start()
    assert (await backend.model("plain")).recipe.size_buckets == SIDES


@pytest.fixture
def explicit(tmp_path: Path, start_triton: Start) -> TritonServer:
    """A server that loads and unloads what it is told to."""
    write_model(tmp_path, "plain", extra="version_policy { latest { num_versions: 2 } }")
    return start_triton(tmp_path, "--model-control-mode=explicit", "--load-model=*")


async def test_an_unloaded_model_is_not_found_until_it_is_loaded_again(
    explicit: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(explicit.address)
    assert isinstance(backend, ModelControl)
    await backend.start()
    model = await backend.model("plain")
    await backend.unload("plain")
    await backend.unload("plain")  # one that is not there is no error
    with pytest.raises((ModelNotFound, BackendUnavailable)):
        await backend.infer(lever(0), model, context())
    with pytest.raises(ModelNotFound):
        await backend.model("plain")
    await backend.load("plain")
    await backend.infer(lever(0), await backend.model("plain"), context())


async def test_a_new_version_is_taken_over_without_a_failed_call(
    explicit: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(explicit.address)
    await backend.start()
    answered: list[str] = []
    done = asyncio.Event()

    async def keep_calling() -> None:
        while not done.is_set():
            model = await backend.model("plain")
            await backend.infer(lever(0), model, context())
            answered.append(model.version)

    callers = [asyncio.create_task(keep_calling()) for _ in range(3)]
    version = explicit.repository / "plain" / "2"
    version.mkdir()
    (version / "model.onnx").write_bytes(network("plain"))
    await backend.load("plain")
    assert (await backend.model("plain")).version == "2"
    await becomes({"1", "2"}, lambda: set(answered), within_s=5.0)
    done.set()
    await asyncio.gather(*callers)


async def test_a_broken_version_is_refused_and_the_old_one_keeps_serving(
    explicit: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(explicit.address)
    await backend.start()
    version = explicit.repository / "plain" / "2"
    version.mkdir()
    (version / "model.onnx").write_bytes(b"no network")
    with pytest.raises(BackendFailed):
        await backend.load("plain")
    model = await backend.model("plain")
    assert model.version == "1"
    await backend.infer(lever(0), model, context())


async def test_model_control_that_the_server_does_not_allow_is_reported(
    triton: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(triton.address)
    await backend.start()
    with pytest.raises(BackendUnavailable):
        await backend.load("plain")
