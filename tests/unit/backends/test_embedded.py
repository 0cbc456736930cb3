"""The embedded backend before its models are there, and when memory is short."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.backends.embedded import EmbeddedBackend
from service.errors import BackendUnavailable
from tests.live import ROOT

SHORT_OF_MEMORY = """
import asyncio, resource
from pathlib import Path
import numpy as np
from service.backends.base import CallContext
from service.backends.embedded import EmbeddedBackend
from service.domain import Deadline

async def main():
    backend = EmbeddedBackend(Path("model_repository"), threads=1, calls=0)
    await backend.start()
    model, context = await backend.model("nuclei"), CallContext("short", Deadline.after(60))
    small, large = np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 1024, 1024, 3), np.uint8)
    await backend.infer(small, model, context)
    taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**23, resource.RLIM_INFINITY))
    try:
        await backend.infer(large, model, context)
    except Exception as error:
        print(type(error).__name__)
    await backend.infer(small, model, context)
    print("fit")

asyncio.run(main())
"""


async def test_models_that_are_still_being_loaded_are_not_there_yet_and_not_unknown() -> None:
    backend = EmbeddedBackend(ROOT / "model_repository", threads=1, calls=1)
    try:
        with pytest.raises(BackendUnavailable, match="not loaded yet"):
            await backend.model("nuclei")
        with pytest.raises(BackendUnavailable, match="not loaded yet"):
            await backend.models()
        await backend.start()
        assert (await backend.model("nuclei")).name == "nuclei"
    finally:
        await backend.aclose()


def test_an_image_that_the_network_has_no_memory_for_is_said_to_be_that() -> None:
    tried = subprocess.run(
        [sys.executable, "-c", SHORT_OF_MEMORY],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert tried.stdout.split() == ["OutOfMemory", "fit"], tried.stderr
    assert not tried.stderr  # nothing between the lines of the log, which are JSON
