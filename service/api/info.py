"""What a caller may want to know before sending an image: models, limits, health."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client.exposition import choose_encoder

from service import signature
from service.api.auth import caller_of
from service.api.intake import MEDIA_TYPES
from service.api.schemas import (
    MAX_AREA_PX,
    MAX_BANDWIDTH,
    Bound,
    CategoryOut,
    Format,
    LimitsOut,
    ModelOut,
)
from service.api.state import GatewayOf
from service.backends.base import Model
from service.errors import DiscernError
from service.telemetry.exposition import OPENMETRICS, encode_openmetrics

router = APIRouter()

_KEYED = [Depends(caller_of)]


@router.get("/models", tags=["models"], dependencies=_KEYED)
async def list_models(gateway: GatewayOf) -> list[ModelOut]:
    """List the models that are served."""
    default = gateway.settings.default_model
    return [_model_out(model, default) for model in await gateway.segmenter.backend.models()]


@router.get("/models/{name}", tags=["models"], dependencies=_KEYED)
async def get_model(name: str, gateway: GatewayOf) -> ModelOut:
    """Describe the newest version of one model."""
    model = await gateway.segmenter.backend.model(name)
    return _model_out(model, gateway.settings.default_model)


@router.get("/limits", tags=["models"], dependencies=_KEYED)
async def get_limits(gateway: GatewayOf) -> LimitsOut:
    """Say what this server accepts."""
    settings = gateway.settings
    return LimitsOut(
        max_body_bytes=settings.max_body_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_image_side_px=settings.max_image_side_px,
        media_types=list(MEDIA_TYPES),
        formats=[entry.value for entry in Format],
        timeout_ms=Bound(min=1, max=settings.max_timeout_ms),
        default_timeout_ms=settings.timeout_ms,
        bandwidth=Bound(min=0, max=MAX_BANDWIDTH),
        foreground_threshold=Bound(min=0, max=1),
        min_score=Bound(min=0, max=1),
        min_area=Bound(min=0, max=MAX_AREA_PX),
        max_instances=Bound(min=1, max=settings.max_instances),
        in_flight=gateway.segmenter.gate.slots,
        queue=gateway.segmenter.gate.waiting,
        embeddings_kept_s=settings.embedding_cache_s if settings.embedding_cache_bytes else 0,
    )


@router.get("/livez", tags=["health"])
@router.get("/v2/health/live", tags=["health"])
async def live() -> JSONResponse:
    """Say that the process answers; depends on nothing else."""
    return JSONResponse({"live": True})


@router.get("/readyz", tags=["health"])
@router.get("/v2/health/ready", tags=["health"])
async def ready(gateway: GatewayOf) -> JSONResponse:
    """Say whether requests should be sent here, and if not, why."""
    state = await gateway.lifecycle.readiness()
    return JSONResponse(
        {"ready": state.ready, "reasons": list(state.reasons)},
        status_code=200 if state.ready else 503,
    )


@router.get("/v2", tags=["open inference protocol"])
async def server_metadata() -> JSONResponse:
    """Describe the server (Open Inference Protocol)."""
    return JSONResponse({"name": "discern", "version": version("discern"), "extensions": []})


@router.get("/v2/models/{name}", tags=["open inference protocol"], dependencies=_KEYED)
async def model_metadata(name: str, gateway: GatewayOf) -> JSONResponse:
    """Describe a model's tensors (Open Inference Protocol)."""
    try:
        model = await gateway.segmenter.backend.model(name)
    except DiscernError as error:  # under /v2 errors have the protocol's own shape
        return JSONResponse({"error": error.detail}, status_code=404)
    recipe = model.recipe
    own = {signature.EMBEDDING: recipe.embedding_size, signature.FOREGROUND: len(recipe.classes)}
    return JSONResponse(
        {
            "name": model.name,
            "versions": [model.version],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": signature.IMAGE, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
            "outputs": [
                {
                    "name": spec.name,
                    "datatype": spec.dtype,
                    "shape": [-1, own.get(spec.name, -1), -1, -1],
                }
                for spec in signature.OUTPUTS[recipe.method]
            ],
        }
    )


@router.get("/v2/models/{name}/ready", tags=["open inference protocol"], dependencies=_KEYED)
async def model_ready(name: str, gateway: GatewayOf) -> JSONResponse:
    """Say whether a model may be asked (Open Inference Protocol)."""
    try:
        await gateway.segmenter.backend.model(name)
    except DiscernError as error:
        return JSONResponse({"error": error.detail}, status_code=404)
    state = await gateway.lifecycle.readiness()
    return JSONResponse(
        {"name": name, "ready": state.ready}, status_code=200 if state.ready else 503
    )


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request, gateway: GatewayOf) -> Response:
    """Write every metric for Prometheus, with exemplars where the scraper asks for OpenMetrics."""
    encoder, media_type = choose_encoder(request.headers.get("accept", ""))
    if media_type.startswith(OPENMETRICS):
        encoder = encode_openmetrics
    return Response(encoder(gateway.metrics.registry), headers={"Content-Type": media_type})


def _model_out(model: Model, default: str) -> ModelOut:
    recipe = model.recipe
    return ModelOut(
        name=model.name,
        version=model.version,
        default=model.name == default,
        method=recipe.method,
        classes=[CategoryOut(id=entry.id, name=entry.name) for entry in recipe.classes],
        embedding_size=recipe.embedding_size,
        stride=recipe.stride,
        size_multiple=recipe.size_multiple,
        foreground_threshold=recipe.foreground_threshold,
        decoder=dict(recipe.decoder),
        network_sha256=recipe.network_sha256,
        max_batch=model.max_batch,
    )
