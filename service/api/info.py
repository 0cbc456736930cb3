"""What a caller may want to know before sending an image: models, limits, health."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client.exposition import choose_encoder

from service.api.auth import caller_of
from service.api.intake import MEDIA_TYPES
from service.api.problems import problems
from service.api.schemas import (
    MAX_AREA_PX,
    MAX_BANDWIDTH,
    MAX_PROBABILITY,
    MIN_BANDWIDTH,
    MIN_PROBABILITY,
    Bound,
    CategoryOut,
    Format,
    LimitsOut,
    ModelOut,
)
from service.api.state import GatewayOf
from service.backends.base import Model
from service.domain import MAX_TILE_PX, MIN_TILE_PX
from service.imaging.scaling import MAX_SCALE, MIN_SCALE
from service.telemetry.exposition import OPENMETRICS, encode_openmetrics

router = APIRouter()

_KEYED = [Depends(caller_of)]
_MODEL_PROBLEMS = problems(401, 404, 422, 502, 503)
_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "Not ready; `reasons` say why."}
}


@router.get("/models", tags=["models"], dependencies=_KEYED, responses=problems(401, 502, 503))
async def list_models(gateway: GatewayOf) -> list[ModelOut]:
    """List the models that are served."""
    default = gateway.settings.default_model
    return [_model_out(model, default) for model in await gateway.backend.models()]


@router.get("/models/{name}", tags=["models"], dependencies=_KEYED, responses=_MODEL_PROBLEMS)
async def get_model(name: str, gateway: GatewayOf) -> ModelOut:
    """Describe the newest version of one model."""
    model = await gateway.backend.model(name)
    return _model_out(model, gateway.settings.default_model)


@router.get("/limits", tags=["models"], dependencies=_KEYED, responses=problems(401))
async def get_limits(gateway: GatewayOf) -> LimitsOut:
    """Say what this server accepts."""
    settings = gateway.settings
    return LimitsOut(
        max_body_bytes=settings.max_body_bytes,
        max_image_pixels=settings.max_image_pixels,
        max_image_side_px=settings.max_image_side_px,
        max_job_bytes=settings.max_job_bytes,
        max_job_images=settings.max_job_images,
        media_types=list(MEDIA_TYPES),
        formats=[entry.value for entry in Format],
        timeout_ms=Bound(min=1, max=settings.max_timeout_ms),
        default_timeout_ms=settings.timeout_ms,
        bandwidth=Bound(min=MIN_BANDWIDTH, max=MAX_BANDWIDTH),
        foreground_threshold=Bound(min=MIN_PROBABILITY, max=MAX_PROBABILITY),
        min_score=Bound(min=0, max=1),
        min_area=Bound(min=0, max=MAX_AREA_PX),
        scale=Bound(min=MIN_SCALE, max=MAX_SCALE),
        tile=Bound(min=MIN_TILE_PX, max=MAX_TILE_PX),
        max_instances=Bound(min=1, max=settings.max_instances),
        in_flight=gateway.gate.slots,
        queue=gateway.gate.waiting,
        embeddings_kept_s=settings.embedding_cache_s if settings.embedding_cache_bytes else 0,
    )


@router.head("/livez", include_in_schema=False)
@router.head("/v2/health/live", include_in_schema=False)
@router.get("/livez", tags=["health"])
@router.get("/v2/health/live", tags=["health"])
async def live() -> JSONResponse:
    """Say that the process answers; depends on nothing else."""
    return JSONResponse({"live": True})


@router.head("/readyz", include_in_schema=False)
@router.head("/v2/health/ready", include_in_schema=False)
@router.get("/readyz", tags=["health"], responses=_NOT_READY)
@router.get("/v2/health/ready", tags=["health"], responses=_NOT_READY)
async def ready(gateway: GatewayOf) -> JSONResponse:
    """Say whether requests should be sent here, and if not, why."""
    state = await gateway.lifecycle.readiness()
    return JSONResponse(
        {"ready": state.ready, "reasons": list(state.reasons)},
        status_code=200 if state.ready else 503,
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
        min_score=recipe.min_score,
        decoder=dict(recipe.decoder),
        object_px=recipe.object_px,
        network_sha256=recipe.network_sha256,
        max_batch=model.max_batch,
    )
