"""From what a request says to what the pipeline does, the same for answers now and later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import Header, Request

from service.api.auth import CallerOf, identify
from service.api.quotas import Quotas
from service.api.schemas import ALL, MAX_TIMEOUT_S, SegmentHeaders, SegmentQuery
from service.api.state import gateway_of
from service.domain import Deadline, Plane, Priority
from service.errors import BadParameter, Draining
from service.gateway import Gateway
from service.postprocess.labelled import ExtractOptions
from service.request import Asked
from service.settings import Settings

TimeoutHeader = Annotated[
    float | None,
    Header(
        alias="X-Request-Timeout",
        gt=0,
        le=MAX_TIMEOUT_S,
        allow_inf_nan=False,
        description=SegmentHeaders.model_fields["timeout_s"].description,
    ),
]


async def taken_up(request: Request) -> None:
    """Refuse at once, to a known caller, what would be refused in the end; count the rest.

    Under overload this is what happens to most requests: it comes before their parameters are
    looked at, which costs more, and before they count against a quota.

    Raises
    ------
    Unauthenticated
        If nobody is known who asks.
    Draining, Overloaded
        If the server is about to end, or full.
    QuotaExceeded
        If nothing is left of the caller's quota.
    """
    caller = identify(request)
    gateway = gateway_of(request)
    model = request.query_params.get("model", gateway.settings.default_model)
    request.state.log["model"] = model if model in gateway.lifecycle.model_names else "unknown"
    still_open(gateway)
    if not wants_job(request):
        gateway.gate.check_room()
    await within_quota(request, caller)


def wants_job(request: Request) -> bool:
    """Return whether a request prefers to be answered later (RFC 7240)."""
    return "respond-async" in whole_header(request, "prefer").lower()


def whole_header(request: Request, name: str) -> str:
    """Return a header that is a list, from all of its lines (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getlist(name))


async def within_quota(request: Request, caller: CallerOf) -> None:
    """Count a request against its caller's quota; the answer tells what is left.

    Raises
    ------
    QuotaExceeded
        If nothing is left.
    """
    quotas: Quotas = request.app.state.quotas
    request.state.headers.update(await quotas.take(caller.id, caller.quota))


def still_open(gateway: Gateway) -> None:
    """Refuse new work when the server is about to end.

    Raises
    ------
    Draining
        If it is.
    """
    if gateway.lifecycle.refusing:
        raise Draining("this server is shutting down", retry_after_s=1)


async def check_for_later(query: SegmentQuery, gateway: Gateway) -> None:
    """Refuse, before any image is taken, what none of a batch or a job could be answered with.

    Raises
    ------
    BadParameter
        If an embedding is to be kept or used: ids of those go with one answer.
    ModelNotFound, BackendUnavailable
        If the model is not there.
    """
    for parameter, given in (("keep", query.keep), ("embedding", query.embedding)):
        if given:
            raise BadParameter(f"neither a batch nor a job has {parameter}", parameter=parameter)
    model = query.model or gateway.settings.default_model
    await gateway.backend.model(model, query.version)


def deadline_of(query: SegmentQuery, timeout_s: float | None, gateway: Gateway) -> Deadline:
    """Return when an answer must be out.

    Raises
    ------
    BadParameter
        If more time is asked for than there is.
    """
    settings = gateway.settings
    asked = {
        "timeout_ms": query.timeout_ms,
        "X-Request-Timeout": None if timeout_s is None else timeout_s * 1e3,
    }
    for parameter, value in asked.items():
        if value is not None and value > settings.max_timeout_ms:
            raise BadParameter(
                f"{parameter} asks for more than {settings.max_timeout_ms} ms, the longest here",
                parameter=parameter,
            )
    given = [value for value in asked.values() if value is not None]
    return Deadline.after(min(given, default=settings.timeout_ms) / 1e3)


def asked_of(
    query: SegmentQuery,
    settings: Settings,
    *,
    request_id: str,
    deadline: Deadline,
    headers: Mapping[str, str],
    priority: Priority = Priority.INTERACTIVE,
) -> Asked:
    """Return what the pipeline is asked to do."""
    return Asked(
        request_id=request_id,
        deadline=deadline,
        model=query.model or settings.default_model,
        version=query.version,
        options=_options(query, settings),
        plane=plane_of(query),
        scale=scale_of(query),
        image_id=query.image_id,
        tile_px=query.tile or settings.tile_px,
        keep=query.keep and query.embedding is None and settings.embedding_cache_bytes > 0,
        headers=headers,
        priority=priority,
    )


def plane_of(query: SegmentQuery) -> Plane:
    """Return the page and the channel that are asked for.

    Raises
    ------
    BadParameter
        If it is every page: one answer is of one.
    """
    if query.page == ALL:
        raise BadParameter(
            "page is all, but one answer is of one page: POST /segment/batch, POST /jobs and "
            "`discern segment FILE` answer every page",
            parameter="page",
        )
    return Plane(query.page or 0, query.channel)


def scale_of(query: SegmentQuery) -> float | None:
    """Return the scale that is asked for; None where it is to be found."""
    return None if query.scale == "auto" else query.scale or 1.0


def _options(query: SegmentQuery, settings: Settings) -> ExtractOptions:
    wanted = query.classes
    return ExtractOptions(
        bandwidth=query.bandwidth,
        foreground_threshold=query.foreground_threshold,
        min_area=query.min_area,
        min_score=query.min_score,
        max_instances=min(query.max_instances, settings.max_instances),
        class_ids=frozenset(int(part) for part in wanted.split(",")) if wanted else None,
    )
