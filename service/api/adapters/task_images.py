"""Where the image of a Label Studio task comes from.

References
----------
Label Studio's documentation, "Import data" and "Local storage": a task holds an address of any
host, a data URI, or a path that Label Studio itself serves, below ``/data/``: uploads and, as
``/data/local-files/?d=…``, files of its machine. It wants ``Authorization: Token …`` for them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.api.fetch import Fetcher
from service.api.intake import Arrived, Fetch, from_base64
from service.domain import Deadline
from service.errors import ImageNotFetched, MalformedRequest, SettingsError
from service.settings import Settings

_ITS_OWN = "/data/"


class TaskImages:
    """Reads the image that a task names.

    Parameters
    ----------
    settings : Settings
        Say where Label Studio is, and with which token it is asked.

    Raises
    ------
    SettingsError
        If the file of the token cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = settings.label_studio_url.rstrip("/")
        self._authorization = _authorization(settings.label_studio_token_file)
        self._fetch = (
            # Whoever runs this server names Label Studio: it may be on a private network.
            Fetcher(self._url, max_bytes=settings.max_body_bytes, private=True)
            if self._url
            else None
        )

    async def read(
        self, image: object, elsewhere: Fetch | None, deadline: Deadline, arrived: Arrived
    ) -> bytes:
        """Return the bytes of an image file.

        Parameters
        ----------
        image : object
            What the task says.
        elsewhere : callable, optional
            Fetches from other hosts, where that is allowed.
        deadline : Deadline
            For fetching it.
        arrived : callable
            Is told the size of what is fetched, piece by piece, and may refuse.

        Raises
        ------
        MalformedRequest
            If it is no text, or a data URI that is not base64.
        ImageNotFetched
            If it lies where this server may not or cannot fetch.
        TooLarge, DeadlineExceeded
            As `Fetcher` does.
        """
        if not isinstance(image, str):
            raise MalformedRequest("a task's image must be text")
        if image.startswith("data:"):
            return await asyncio.to_thread(_from_data_uri, image)
        if image.startswith(_ITS_OWN):
            image = f"{self._url}{image}"
        if self._fetch is not None and image.startswith(f"{self._url}{_ITS_OWN}"):
            return await self._fetch(image, deadline, arrived, authorization=self._authorization)
        if image.startswith(_ITS_OWN):
            raise ImageNotFetched(
                "the image lies in Label Studio, and this server does not know where that is: set "
                "DISCERN_LABEL_STUDIO_URL"
            )
        if elsewhere is None or not image.startswith(("http://", "https://")):
            raise ImageNotFetched(
                "this server fetches no images from there: upload them to Label Studio, put them "
                "into the tasks as data URIs, or name their host in DISCERN_URL_HOSTS"
            )
        return await elsewhere(image, deadline, arrived)


def _authorization(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return f"Token {file.read_text(encoding='ascii').strip()}"
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the file of Label Studio's token {file} cannot be read") from error


def _from_data_uri(image: str) -> bytes:
    head, _, body = image.partition(",")
    if not head.endswith(";base64"):
        raise MalformedRequest("a task's image is a data URI of another form than base64")
    return from_base64(body)
