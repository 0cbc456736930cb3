"""How a route reaches the gateway that it belongs to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from service.gateway import Gateway


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that a request came to."""
    gateway = request.app.state.gateway
    if not isinstance(gateway, Gateway):
        raise TypeError
    return gateway


def client_of(request: Request) -> str:
    """Return who asks, as far as it is known: the address that the request came from."""
    return request.client.host if request.client else ""


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
