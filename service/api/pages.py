"""What a person looks at: the web page, the API reference, and the files they consist of.

Everything is served from this process; no page fetches anything from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

WEB: Final = Path(__file__).parents[1] / "web"

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",  # ask every time; unchanged files cost a 304
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> FileResponse:
    """Return the page that segments an image in the browser."""
    return FileResponse(WEB / "index.html", headers=_POLICY)


@router.get("/docs")
async def reference() -> FileResponse:
    """Return the page that draws the API from ``/openapi.json``."""
    return FileResponse(WEB / "docs.html", headers=_POLICY)


def add_pages(app: FastAPI) -> None:
    """Serve the pages, and their scripts, styles and examples under ``/web``."""
    app.include_router(router)
    app.mount("/web", StaticFiles(directory=WEB), name="web")
