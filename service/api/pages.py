"""What a person looks at: the web page, the API reference, and the files they consist of.

Everything is served from this process; no page fetches anything from elsewhere.
"""

from __future__ import annotations

from os import PathLike, stat_result
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

WEB: Final = Path(__file__).parents[1] / "web"

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",  # ask every time; unchanged files cost a 304
}

router = APIRouter(include_in_schema=False)


class _Files(StaticFiles):
    """Files under the policy of the pages; also a 304, whose headers replace the kept ones."""

    def file_response(
        self,
        full_path: str | PathLike[str],
        stat_result: stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Answer with a file, or say that the caller has it already."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_POLICY)
        return response


_FILES: Final = _Files(directory=WEB, check_dir=False)  # no I/O while importing


@router.head("/")
@router.get("/")
async def index(request: Request) -> Response:
    """Return the page that segments an image in the browser."""
    return await _FILES.get_response("index.html", request.scope)


@router.head("/docs")
@router.get("/docs")
async def reference(request: Request) -> Response:
    """Return the page that draws the API from ``/openapi.json``."""
    return await _FILES.get_response("docs.html", request.scope)


def add_pages(app: FastAPI) -> None:
    """Serve the pages, and their scripts, styles and examples under ``/web``."""
    app.include_router(router)
    app.mount("/web", _FILES, name="web")
