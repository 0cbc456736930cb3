"""How a route reaches the gateway that it belongs to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.api.auth import identify
from service.api.intake import Intake
from service.gateway import Gateway
from service.jobs.runner import JobRunner


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that a request came to."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def client_of(request: Request) -> str:
    """Return who asks: whose key it is, or the address that the request came from."""
    return identify(request).id


def intake_of(request: Request) -> Intake:
    """Return how bodies are taken in."""
    intake: Intake = request.app.state.intake
    return intake


def jobs_of(request: Request) -> JobRunner:
    """Return what keeps jobs and works them off."""
    jobs: JobRunner = request.app.state.jobs
    return jobs


async def _gateway_of(request: Request) -> Gateway:
    """Do the same as a coroutine, for the reason told in `auth`."""
    return gateway_of(request)


GatewayOf = Annotated[Gateway, Depends(_gateway_of)]
