"""What the type of a problem document points to: a page on each kind of problem."""

from __future__ import annotations

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from service.api.problems import BY_CODE

router = APIRouter(prefix="/problems", include_in_schema=False, default_response_class=HTMLResponse)


@router.get("")
async def list_problems() -> HTMLResponse:
    """List every kind of problem."""
    rows = "".join(
        f'<li><a href="/problems/{problem.code}">{problem.code}</a> ({problem.status}): '
        f"{escape(problem.title)}</li>"
        for problem in sorted(BY_CODE.values(), key=lambda problem: problem.status)
    )
    return _page("Problems", f"<ul>{rows}</ul>")


@router.get("/{code}")
async def describe(code: str) -> HTMLResponse:
    """Say what a kind of problem means and what to do about it."""
    problem = BY_CODE.get(code)
    if problem is None:
        raise HTTPException(404, "there is no such kind of problem; /problems lists them")
    return _page(
        problem.title,
        f"<p>HTTP status {problem.status}, code <code>{problem.code}</code></p>"
        f"<p>{escape(problem.remedy)}</p>"
        '<p><a href="/problems">All problems</a></p>',
    )


def _page(title: str, content: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<h1>{escape(title)}</h1>{content}</html>"
    )
