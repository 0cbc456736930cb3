"""Shared memory with a Triton server: kept, lost, full, out of sight, given back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

from service.backends.shared_memory import FOLDER
from service.errors import DeadlineExceeded
from tests.contract.calls import (
    Open,
    becomes,
    context,
    files,
    lever,
    registered,
    restarted,
)
from tests.triton_server.server import TritonServer

pytestmark = pytest.mark.triton


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


async def test_memory_of_an_abandoned_call_is_not_used_again_while_the_server_may_write(
    triton: TritonServer, open_triton: Open
) -> None:
    backend = open_triton(triton.address, shared_memory_bytes=2**22)
    await backend.start()
    plain, slow = await backend.model("plain"), await backend.model("slow")
    others, older = registered(triton), files()  # of tests before, which may be going yet
    await backend.infer(lever(0), plain, context())
    with pytest.raises(DeadlineExceeded):
        await backend.infer(lever(5), slow, context(0.2))
    outputs = await backend.infer(lever(0), plain, context())
    before = outputs.tensors["embedding"].copy()
    await becomes(files() - older, lambda: registered(triton) - others, within_s=20.0)
    np.testing.assert_array_equal(outputs.tensors["embedding"], before)


async def test_the_server_lets_go_of_a_region_that_made_room_for_a_larger_one(
    triton: TritonServer, open_triton: Open
) -> None:
    others, older = registered(triton), files()
    backend = open_triton(triton.address, shared_memory_bytes=2**22)
    await backend.start()
    model = await backend.model("plain")
    await backend.infer(lever(0), model, context())
    before = files()
    outputs = await backend.infer(np.zeros((1, 416, 416, 3), np.uint8), model, context())
    assert outputs.tensors["embedding"].flags.writeable  # in a region, which takes all there is
    assert before - files()
    await becomes(files() - older, lambda: registered(triton) - others, within_s=10.0)


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
