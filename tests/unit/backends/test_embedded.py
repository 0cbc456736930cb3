"""The embedded backend before its models are there."""

from __future__ import annotations

import pytest

from service.backends.embedded import EmbeddedBackend
from service.errors import BackendUnavailable
from tests.live import ROOT


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
