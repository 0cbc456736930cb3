"""Labelling tools that ask this server as if it were their own: switched on by setting."""

from __future__ import annotations

from fastapi import APIRouter

from service.api.adapters import cvat, label_studio
from service.settings import Settings


def routers_for(settings: Settings) -> list[APIRouter]:
    """Return the routes of the tools that the setting `adapters` names."""
    known = {"cvat": lambda _: cvat.router, "label_studio": label_studio.router_for}
    return [known[name](settings) for name in settings.adapter_names()]
