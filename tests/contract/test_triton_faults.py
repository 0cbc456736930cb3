"""Everything that can go wrong with a Triton server, done to a real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc

from service.backends.base import CallContext, ModelControl
from service.backends.shared_memory import FOLDER, PREFIX
from service.backends.triton import TritonBackend
from service.domain import Deadline
from service.errors import BackendFailed, BackendUnavailable, DeadlineExceeded, ModelNotFound
from tests.contract.networks import TIGHT_QUEUE, network, write_model
from tests.triton_server.server import TritonServer
from training.deployment.gpu_config import SIDES, VARIANT, write_variants

pytestmark = pytest.mark.triton

Open = Callable[..., TritonBackend]
Start = Callable[..., TritonServer]


def context(seconds: float = 20.0) -> CallContext:
    return CallContext("contract", Deadline.after(seconds))


def lever(value: int) -> npt.NDArray[np.uint8]:
    images = np.zeros((1, 16, 16, 3), np.uint8)
    images[0, 0, 0, 0] = value
    return images


def registered(server: TritonServer) -> set[str]:
    with tritonclient.grpc.InferenceServerClient(server.address) as client:
        return set(client.get_system_shared_memory_status().regions)


def files() -> set[str]:
    return {path.name for path in FOLDER.glob(f"{PREFIX}*")}


async def becomes(wanted: Any, read: Callable[[], Any], *, within_s: float) -> None:
    give_up = time.monotonic() + within_s
    while (now := await asyncio.to_thread(read)) != wanted:
        assert time.monotonic() < give_up, f"still {now!r}, not {wanted!r}"
        await asyncio.sleep(0.05)


async def restarted(server: TritonServer) -> None:
    # Launched from this thread: the kernel ends the server with the thread that started it.
    server.launch()
    await asyncio.to_thread(server.wait_until_ready)


async def seconds_until(error: type[Exception], call: Any) -> float:
    start = time.monotonic()
    with pytest.raises(error):
        await call
    return time.monotonic() - start


async def test_a_server_that_is_down_is_unavailable_after_the_wait(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=0.3, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")
    mortal.kill()
    assert not await backend.ready()
    assert await seconds_until(BackendUnavailable, backend.infer(lever(0), model, context())) < 1.0


async def test_a_deadline_before_the_wait_is_over_is_a_deadline(
    mortal: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(mortal.address, wait_s=5.0)
    await backend.start()
    model = await backend.model("plain")
    mortal.kill()
    assert await seconds_until(DeadlineExceeded, backend.infer(lever(0), model, context(0.3))) < 1.0


async def test_a_backend_may_start_before_its_server(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    mortal.kill()
    backend = open_triton(mortal.address, wait_s=0.2, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    assert not await backend.ready()
    with pytest.raises(BackendUnavailable):
        await backend.models()
    await restarted(mortal)
    assert await backend.ready()
    outputs = await backend.infer(lever(0), await backend.model("plain"), context())
    assert outputs.tensors["embedding"].shape == (1, 8, 16, 16)


async def test_a_call_whose_server_is_killed_is_answered_before_its_deadline(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=0.3, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    call = asyncio.create_task(
        backend.infer(lever(100), await backend.model("slow"), context(10.0))
    )
    await asyncio.sleep(0.3)
    mortal.kill()
    assert await seconds_until(BackendUnavailable, call) < 2.0


async def test_a_call_whose_server_is_restarted_is_answered_by_the_new_one(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, wait_s=20.0, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    call = asyncio.create_task(backend.infer(lever(3), await backend.model("slow"), context(20.0)))
    await asyncio.sleep(0.2)
    mortal.kill()
    await restarted(mortal)
    outputs = await call
    assert outputs.tensors["embedding"].shape == (1, 8, 16, 16)


async def test_the_first_call_after_a_restart_is_answered_at_once(
    mortal: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")
    await backend.infer(lever(0), model, context())
    mortal.kill()
    await restarted(mortal)
    start = time.monotonic()
    await backend.infer(lever(0), model, context())
    assert time.monotonic() - start < 0.5 + 0.5  # half a second, and as much for a busy machine


async def test_regions_are_registered_anew_after_a_restart(
    mortal: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(mortal.address, shared_memory_bytes=2**22)
    await backend.start()
    model = await backend.model("plain")
    await backend.infer(lever(0), model, context())
    before = registered(mortal)
    mortal.kill()
    await restarted(mortal)
    await backend.infer(lever(0), model, context())
    assert registered(mortal)
    assert registered(mortal) <= before | files()


async def test_calls_side_by_side_register_what_the_server_has_forgotten(
    triton: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=2**24)
    await backend.start()
    model = await backend.model("plain")
    together = [backend.infer(lever(0), model, context()) for _ in range(8)]
    held = await asyncio.gather(*together)
    assert len(held) == 8
    del held
    with tritonclient.grpc.InferenceServerClient(triton.address) as client:
        client.unregister_system_shared_memory()
    again = await asyncio.gather(*(backend.infer(lever(0), model, context()) for _ in range(8)))
    assert all(outputs.tensors["embedding"].flags.writeable for outputs in again)  # in regions


async def test_a_full_queue_is_unavailable_and_says_so(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("tight")
    calls = [backend.infer(lever(2), model, context()) for _ in range(8)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BackendUnavailable)]
    served = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert refused
    assert served
    assert len(refused) + len(served) == 8
    assert {answer.detail for answer in refused} == {"the inference server's queue is full"}


async def test_time_spent_in_the_servers_queue_counts(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("tight")
    # Connection and memory region are there already, so the first call is not overtaken.
    await backend.infer(lever(0), model, context())
    running = asyncio.create_task(backend.infer(lever(16), model, context()))
    await asyncio.sleep(0.2)
    assert await seconds_until(DeadlineExceeded, backend.infer(lever(0), model, context(0.3))) < 1.0
    await running


async def test_memory_of_an_abandoned_call_is_not_used_again_while_the_server_may_write(
    triton: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=2**22)
    await backend.start()
    plain, slow = await backend.model("plain"), await backend.model("slow")
    others = registered(triton)
    await backend.infer(lever(0), plain, context())
    with pytest.raises(DeadlineExceeded):
        await backend.infer(lever(5), slow, context(0.2))
    outputs = await backend.infer(lever(0), plain, context())
    before = outputs.tensors["embedding"].copy()
    await becomes(others | files(), lambda: registered(triton), within_s=20.0)
    np.testing.assert_array_equal(outputs.tensors["embedding"], before)


async def test_closing_leaves_no_region_behind(triton: TritonServer, open_triton: Open) -> None:
    files_before, registered_before = files(), registered(triton)
    backend = open_triton(triton.address, shared_memory_bytes=2**22)
    await backend.start()
    await backend.infer(lever(0), await backend.model("plain"), context())
    assert files() - files_before
    await backend.aclose()
    await becomes(set(), lambda: files() - files_before, within_s=5.0)
    await becomes(set(), lambda: registered(triton) - registered_before, within_s=5.0)


async def test_regions_of_a_gateway_that_crashed_are_removed_at_start(
    triton: TritonServer, open_triton: Open
) -> None:
    (FOLDER / "discern-crashed-1").write_bytes(bytes(4096))
    with tritonclient.grpc.InferenceServerClient(triton.address) as client:
        client.register_system_shared_memory("discern-crashed-1", "/discern-crashed-1", 4096)
    backend = open_triton(triton.address, shared_memory_bytes=2**22)
    await backend.start()
    assert "discern-crashed-1" not in files()
    await becomes(set(), lambda: {"discern-crashed-1"} & registered(triton), within_s=5.0)


async def test_memory_that_the_server_cannot_see_is_done_without(
    triton: TritonServer, open_triton: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=2**22, shared_memory_folder=tmp_path)
    await backend.start()
    assert "cannot open this host's shared memory" in caplog.text
    outputs = await backend.infer(lever(0), await backend.model("plain"), context())
    assert outputs.tensors["embedding"].shape == (1, 8, 16, 16)


async def test_calls_that_find_no_room_in_shared_memory_go_by_wire(
    triton: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=2**20)
    await backend.start()
    model = await backend.model("plain")
    held = [await backend.infer(lever(0), model, context()) for _ in range(3)]
    assert [outputs.tensors["embedding"].flags.writeable for outputs in held] == [
        True,  # the region, ours to read and write
        False,  # views of the replies
        False,
    ]


async def test_calls_in_a_row_use_the_same_memory(triton: TritonServer, open_triton: Open) -> None:
    before = files()
    backend = open_triton(triton.address, shared_memory_bytes=2**24)
    await backend.start()
    model = await backend.model("plain")
    for _ in range(5):
        await backend.infer(lever(0), model, context())
    assert len(files() - before) <= 2  # the answer that is held while the next one is fetched


async def test_a_batch_larger_than_the_model_takes_is_a_failure(
    triton: TritonServer, open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    with pytest.raises(BackendFailed):
        await backend.infer(
            np.zeros((5, 16, 16, 3), np.uint8), await backend.model("plain"), context()
        )


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


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory, start_triton: Start) -> list[TritonServer]:
    repository = tmp_path_factory.mktemp("twins")
    for name, kind, extra in (("plain", "plain", ""), ("tight", "slow", TIGHT_QUEUE)):
        write_model(repository, name, kind, extra=extra)
    return [start_triton(repository), start_triton(repository)]


def successes(server: TritonServer) -> float:
    return server.metrics()['nv_inference_request_success{model="plain",version="1"}']


@pytest.mark.parametrize("form", ["{0} {1}", "ipv4:{0},{1}"], ids=["two names", "one name"])
async def test_calls_are_spread_evenly_over_all_addresses(
    twins: list[TritonServer], open_triton: Open, form: str
) -> None:
    backend = open_triton(*form.format(*(twin.address for twin in twins)).split())
    await backend.start()
    model = await backend.model("plain")
    await backend.infer(lever(0), model, context())
    before = [successes(twin) for twin in twins]
    for _ in range(20):
        await backend.infer(lever(0), model, context())
    assert [successes(t) - b for t, b in zip(twins, before, strict=True)] == pytest.approx(
        [10, 10], abs=2
    )


async def test_a_full_queue_at_one_server_is_tried_at_the_other(
    twins: list[TritonServer], open_triton: Open
) -> None:
    one = open_triton(twins[0].address)
    both = open_triton(*(twin.address for twin in twins))
    await one.start()
    await both.start()
    model = await both.model("tight")
    fill = [asyncio.create_task(one.infer(lever(5), model, context())) for _ in range(4)]
    await asyncio.sleep(0.2)
    answers = [await both.infer(lever(0), model, context()) for _ in range(4)]
    assert len(answers) == 4
    await asyncio.gather(*fill, return_exceptions=True)


async def test_no_call_fails_when_one_of_two_servers_is_killed(
    mortal: TritonServer, twins: list[TritonServer], open_triton: Open, shared_memory_bytes: int
) -> None:
    backend = open_triton(mortal.address, twins[0].address, shared_memory_bytes=shared_memory_bytes)
    await backend.start()
    model = await backend.model("plain")

    async def caller() -> int:
        answers = [await backend.infer(lever(0), model, context()) for _ in range(15)]
        return len(answers)

    callers = [asyncio.create_task(caller()) for _ in range(3)]
    await asyncio.sleep(0.05)
    mortal.kill()
    assert await asyncio.gather(*callers) == [15, 15, 15]
