"""The web application: routes, problems and middleware around one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from service.api import batch, info, jobs, problem_pages, protocol, routes
from service.api.adapters import routers_for
from service.api.auth import Guard
from service.api.fetch import fetcher_of
from service.api.intake import Intake
from service.api.middleware import Observe
from service.api.openapi import DescribedApp
from service.api.pages import add_pages
from service.api.problems import add_problem_handlers
from service.api.quotas import Quotas
from service.api.security import AnswerHeaders, allow_origins
from service.gateway import assemble
from service.settings import Settings
from service.telemetry.tracing import open_spans


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its gateway starts and ends with its lifespan.

    Parameters
    ----------
    settings : Settings
        Everything that can be chosen.
    """
    guard = Guard(settings)
    gateway = assemble(settings)
    work = jobs.make_jobs(gateway)
    quotas = Quotas(settings.quota, settings.quota_store)
    spans = open_spans(settings.otlp_endpoint, version=version("discern"))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(gateway.lifecycle.start())
        await work.start()
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await work.aclose()
            await quotas.aclose()
            await gateway.aclose()
            if spans:
                await asyncio.to_thread(spans.close)

    app = DescribedApp(
        title="Discern",
        summary="Instance segmentation: every pixel becomes a vector, clusters become objects.",
        version=version("discern"),
        lifespan=lifespan,
        # Observe does all three, by stage; FastAPI's own would only cost time.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,  # drawn by a page of ours: FastAPI's own fetches its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # behind a proxy that ends TLS it would lead away from HTTPS
    )
    app.keys_needed = settings.api_keys_file is not None
    app.state.gateway = gateway
    app.state.jobs = work
    app.state.guard = guard
    app.state.quotas = quotas
    app.state.intake = Intake(settings.max_body_bytes, settings.receive_s, fetcher_of(settings))
    app.include_router(routes.router)
    app.include_router(batch.router)
    app.include_router(jobs.router)
    app.include_router(info.router)
    app.include_router(protocol.router)
    app.include_router(problem_pages.router)
    for router in routers_for(settings):
        app.include_router(router)
    add_pages(app)
    add_problem_handlers(app)
    if settings.cors_origins:
        allow_origins(app, settings.cors_origins)
    app.add_middleware(AnswerHeaders, leaving=lambda: gateway.lifecycle.draining)
    app.add_middleware(
        Observe,
        metrics=gateway.metrics,
        spans=spans,
        trace_ratio=settings.trace_ratio if spans else 0.0,
    )
    return app
