"""``page=all``: every page of the files of a batch or a job becomes an image of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.api.intake import Arrived
from service.api.schemas import ALL, SegmentQuery
from service.errors import BrokenImage, TooLarge
from service.imaging.stack import Stack
from service.settings import Settings

File = tuple[str, bytes]


async def by_page(
    query: SegmentQuery, files: Sequence[File], settings: Settings, arrived: Arrived
) -> tuple[SegmentQuery, tuple[File, ...]]:
    """Take files apart, if every page is asked for.

    Parameters
    ----------
    query : SegmentQuery
        What is asked.
    files : sequence of (str, bytes)
        Names and files, which `arrived` was told of.
    settings : Settings
        How many images there may be, and how large they may be together.
    arrived : callable
        Is told of every page, and that its file goes.

    Returns
    -------
    query : SegmentQuery
        What is asked of each.
    files : tuple of (str, bytes)
        Pages in order, by the name of their file and their number: ``movie.tif/07``.

    Raises
    ------
    TooLarge
        If there are more pages, or if they are larger together; nothing is decoded before.
    """
    if query.page != ALL:
        return query, tuple(files)
    stacks = await _counted(files, settings.max_job_images)
    pages: list[File] = []
    room = settings.max_job_bytes
    for (name, data), stack in zip(files, stacks, strict=True):
        arrived(-len(data))
        for number in stack.numbers():
            page = await asyncio.to_thread(_page, stack, number)
            arrived(len(page))
            room -= len(page)
            if room < 0:
                raise TooLarge(
                    f"the pages are larger than {settings.max_job_bytes} bytes",
                    limit=settings.max_job_bytes,
                )
            pages.append((f"{name}/{stack.label(number)}", page))
    return query.model_copy(update={"page": None}), tuple(pages)


async def _counted(files: Sequence[File], most: int) -> list[Stack]:
    """Open files up to the one with which there are too many pages: of few bytes may be many."""
    stacks, pages = [], 0
    for _, data in files:
        stack = await asyncio.to_thread(Stack, data)
        pages += len(stack.numbers())
        if pages > most:
            raise TooLarge(f"the files have more than {most} pages together", limit=most)
        stacks.append(stack)
    return stacks


def _page(stack: Stack, number: int) -> bytes:
    """Return a page; of a damaged one only the signature, which its answer will say is damaged."""
    try:
        return stack.page(number)
    except BrokenImage:
        return stack.signature
