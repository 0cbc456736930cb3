"""Metadata as the Open Inference Protocol has it, and the model control of Triton's extension.

Errors under ``/v2`` have the protocol's shape, ``{"error": …}`` (`service.api.problems`).
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path
from fastapi.responses import JSONResponse, Response

from service import signature
from service.api.auth import admin_of, caller_of
from service.api.schemas import ProtocolError
from service.api.state import GatewayOf
from service.backends.base import Model

router = APIRouter(tags=["open inference protocol"])

_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProtocolError} for status in (401, 403, 404, 422, 502, 503)
}
_KEYED: Final[dict[str, Any]] = {"dependencies": [Depends(caller_of)], "responses": _ERRORS}
_READY: Final[dict[str, Any]] = {
    **_KEYED,
    "responses": {**_ERRORS, 503: {"description": "Not ready, or nobody can tell."}},
}
_ADMIN: Final[dict[str, Any]] = {"dependencies": [Depends(admin_of)], "responses": _ERRORS}

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$")]
Version = Annotated[str, Path(pattern=r"^[0-9]{1,18}$")]


@router.get("/v2")
async def server_metadata() -> JSONResponse:
    """Describe the server."""
    extensions = ["model_repository"]
    return JSONResponse(
        {"name": "discern", "version": version_of("discern"), "extensions": extensions}
    )


@router.get("/v2/models/{name}", **_KEYED)
async def model_metadata(
    name: Name, gateway: GatewayOf, version: Version | None = None
) -> JSONResponse:
    """Describe a model's tensors."""
    backend = gateway.backend
    model = await backend.model(name, version)
    ready = [other.version for other in await backend.models() if other.name == name]
    return JSONResponse(
        {
            "name": model.name,
            "versions": ready,
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": signature.IMAGE, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": _outputs(model),
        }
    )


@router.get("/v2/models/{name}/versions/{version}", **_KEYED)
async def version_metadata(name: Name, version: Version, gateway: GatewayOf) -> JSONResponse:
    """Describe the tensors of one version of a model."""
    return await model_metadata(name, gateway, version)


@router.get("/v2/models/{name}/ready", **_READY)
async def model_ready(
    name: Name, gateway: GatewayOf, version: Version | None = None
) -> JSONResponse:
    """Say whether a model may be asked."""
    await gateway.backend.model(name, version)
    state = await gateway.lifecycle.readiness()
    return JSONResponse(
        {"name": name, "ready": state.ready}, status_code=200 if state.ready else 503
    )


@router.get("/v2/models/{name}/versions/{version}/ready", **_READY)
async def version_ready(name: Name, version: Version, gateway: GatewayOf) -> JSONResponse:
    """Say whether one version of a model may be asked."""
    return await model_ready(name, gateway, version)


@router.post("/v2/repository/index", **_KEYED)
async def repository_index(gateway: GatewayOf) -> JSONResponse:
    """List what is served (model repository extension)."""
    models = await gateway.backend.models()
    return JSONResponse(
        [{"name": model.name, "version": model.version, "state": "READY"} for model in models]
    )


@router.post("/v2/repository/models/{name}/load", **_ADMIN)
async def load(name: Name, gateway: GatewayOf) -> Response:
    """Load a model's newest version, and check it; the one before serves until then.

    Needs a key with the right `admin`.
    """
    await gateway.lifecycle.load(name)
    return Response()


def _outputs(model: Model) -> list[dict[str, Any]]:
    recipe = model.recipe
    return [
        {
            "name": spec.name,
            "datatype": spec.dtype,
            "shape": [-1, recipe.channels.get(spec.name, -1), *[-1] * (spec.rank - 2)],
        }
        for spec in recipe.outputs
    ]
