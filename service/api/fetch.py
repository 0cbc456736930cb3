"""Images by address, for servers that allow it: named hosts only, no redirect, bounded throughout.

The address that was checked is the one that is asked: the name is looked up once, and no answer of
the name server after that counts.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11

from service.api.intake import Arrived
from service.domain import Deadline
from service.errors import DeadlineExceeded, ImageNotFetched, TooLarge
from service.settings import Settings

_CHUNK: Final = 2**16
_MAX_URL: Final = 2048


class Fetcher:
    """Gets images from hosts on a list.

    Parameters
    ----------
    hosts : str
        Names, comma separated; ``name:port`` where it is not 443. A host that begins with
        ``http://`` is asked without TLS.
    max_bytes : int
        Largest image.
    private : bool
        Whether a host may have an address that the public network does not reach.
    """

    def __init__(self, hosts: str, *, max_bytes: int, private: bool = False) -> None:
        self._allowed = {_origin(urlsplit(_with_scheme(host.strip()))) for host in hosts.split(",")}
        self._max_bytes = max_bytes
        self._private = private
        self._tls = ssl.create_default_context()

    async def __call__(
        self,
        url: str,
        deadline: Deadline,
        arrived: Arrived,
        *,
        authorization: str = "",
    ) -> bytes:
        """Return the image at an address.

        Parameters
        ----------
        url : str
            Where it is.
        deadline : Deadline
            For everything: name, connection, answer.
        arrived : callable
            Is told the size of every piece that arrives, and may refuse.
        authorization : str
            Value of the header of that name; empty sends none.

        Raises
        ------
        ImageNotFetched
            If the host is not on the list, is not reached, or answers with anything but an image.
        TooLarge
            If the image is larger than allowed.
        DeadlineExceeded
            If it is not there in time.
        """
        target = self._checked(url)
        try:
            async with asyncio.timeout(deadline.left_s()):
                return await self._get(target, authorization, arrived)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"the image was not fetched within {deadline.allowed_s:g} s", stage="fetch"
            ) from error
        except (OSError, ssl.SSLError, h11.RemoteProtocolError) as error:
            raise ImageNotFetched("the host did not answer as it should") from error

    def _checked(self, url: str) -> SplitResult:
        try:
            target = urlsplit(url) if len(url) <= _MAX_URL else urlsplit("")
            allowed = _origin(target) in self._allowed
        except ValueError:
            allowed = False
        clean = url.isascii() and url.isprintable() and " " not in url
        if not (allowed and clean and target.username is None):
            raise ImageNotFetched("this server fetches no images from there")
        return target

    async def _get(self, target: SplitResult, authorization: str, arrived: Arrived) -> bytes:
        scheme, host, port = _origin(target)
        address = await self._resolve(host, port)
        tls = self._tls if scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            address, port, ssl=tls, server_hostname=host if tls else None
        )
        try:
            connection = h11.Connection(h11.CLIENT)
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            headers = [("Host", target.netloc), ("Accept", "image/*"), ("Connection", "close")]
            if authorization:
                headers.append(("Authorization", authorization))
            request = h11.Request(method="GET", target=path, headers=headers)
            writer.write(connection.send(request) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            return await self._read(connection, reader, arrived)
        finally:
            writer.transport.abort()

    async def _resolve(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not (self._private or ipaddress.ip_address(address).is_global):
                raise ImageNotFetched("this server fetches no images from there")
        return addresses[0]

    async def _read(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        arrived: Arrived,
    ) -> bytes:
        body = bytearray()
        while True:
            event = connection.next_event()
            match event:
                case h11.NEED_DATA:
                    connection.receive_data(await reader.read(_CHUNK))
                case h11.Response() if event.status_code != 200:
                    raise ImageNotFetched(f"the host answered with status {event.status_code}")
                case h11.Data():
                    body += event.data
                    if len(body) > self._max_bytes:
                        raise TooLarge(
                            f"the image is larger than {self._max_bytes} bytes",
                            limit=self._max_bytes,
                        )
                    arrived(len(event.data))
                case h11.EndOfMessage():
                    return bytes(body)
                case h11.ConnectionClosed():
                    raise ImageNotFetched("the host broke off")


def fetcher_of(settings: Settings) -> Fetcher | None:
    """Return what fetches images, None where that is switched off."""
    if not settings.url_hosts:
        return None
    return Fetcher(
        settings.url_hosts, max_bytes=settings.max_body_bytes, private=settings.url_private
    )


def _with_scheme(host: str) -> str:
    return host if "://" in host else f"https://{host}"


def _origin(target: SplitResult) -> tuple[str, str, int]:
    port = target.port or {"https": 443, "http": 80}.get(target.scheme, 0)
    return target.scheme, (target.hostname or "").lower(), port
