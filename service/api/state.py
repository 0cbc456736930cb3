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
    gateway = request.app.state.gateway
    if not isinstance(gateway, Gateway):
        raise TypeError
    return gateway


def client_of(request: Request) -> str:
    """Return who asks: whose key it is, or the address that the request came from."""
    return identify(request).id


def intake_of(request: Request) -> Intake:
    """Return how bodies are taken in."""
    intake = request.app.state.intake
    if not isinstance(intake, Intake):
        raise TypeError
    return intake


def jobs_of(request: Request) -> JobRunner:
    """Return what keeps jobs and works them off."""
    jobs = request.app.state.jobs
    if not isinstance(jobs, JobRunner):
        raise TypeError
    return jobs


async def _gateway_of(request: Request) -> Gateway:
    """Do the same as a coroutine, for the reason told in `auth`."""
    return gateway_of(request)


GatewayOf = Annotated[Gateway, Depends(_gateway_of)]
