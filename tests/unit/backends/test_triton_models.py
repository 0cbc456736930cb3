"""What is said of models while no server answers."""

from __future__ import annotations

import pytest

from service.backends import triton, triton_models
from service.backends.triton import TritonBackend
from service.errors import BackendUnavailable
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
