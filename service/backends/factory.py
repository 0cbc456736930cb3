"""The one place that chooses a backend."""

from __future__ import annotations

from typing import Final

from service.backends.base import Backend
from service.errors import ArtefactError
from service.settings import Settings

_SCHEMES: Final = ("http://", "https://", "grpc://", "grpcs://")


def create_backend(settings: Settings, *, in_place: bool = False) -> Backend:
    """Return the backend that the settings ask for, not yet started.

    Parameters
    ----------
    settings : Settings
        Everything that can be chosen.
    in_place : bool
        Whether a network in this process runs on the thread that asks, which it blocks.

    Raises
    ------
    ArtefactError
        If there is no folder of models, or nothing to run them, or the address of an inference
        server cannot be one; says what to do.

    Notes
    -----
    The modules are imported here, because the embedded backend needs ONNX Runtime, which a gateway
    in front of Triton does without.
    """
    if settings.triton_url:
        from service.backends.triton import TritonBackend

        return TritonBackend(
            _addresses(settings),
            wait_s=settings.triton_wait_ms / 1000,
            shared_memory_bytes=(
                settings.triton_shared_memory_bytes if settings.triton_shared_memory else 0
            ),
        )
    try:
        from service.backends.embedded import EmbeddedBackend
    except ModuleNotFoundError as error:
        raise ArtefactError(
            f"{error.name} is missing: pip install 'discern[ort]', or set DISCERN_TRITON_URL"
        ) from error
    repository = settings.model_repository
    if not repository.is_dir():  # said here, before anything is compiled or loaded
        raise ArtefactError(
            f"model repository {repository} is not a folder: start in the checkout, or set "
            "DISCERN_MODEL_REPOSITORY"
        )
    return EmbeddedBackend(
        repository,
        threads=settings.inference_thread_count(),
        calls=0 if in_place else settings.in_flight_limit(),
        nice=settings.compute_nice,
    )


def _addresses(settings: Settings) -> list[str]:
    """Return the inference servers; refuse what gRPC would take for a name, and never find."""
    addresses = settings.triton_url.split(",")
    for address in addresses:
        if address.strip().lower().startswith(_SCHEMES):
            raise ArtefactError(
                f"DISCERN_TRITON_URL: {address.strip()} is a URL; gRPC takes host:port, and "
                "Triton listens for it on 8001 unless told otherwise"
            )
    return addresses
