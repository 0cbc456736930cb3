"""An HTTP client that takes hardly any time of its own, as perf_analyzer's does not.

Python's own reads the head of an answer with its parser of e-mail, 0.1 to 0.3 ms each time.
"""

from __future__ import annotations

import http
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import httptools

_PIECE = 2**18


class LeanClient:
    """One kept connection that posts the same body over and over.

    Parameters
    ----------
    url : str
        Where to.
    body : bytes
        What to.
    media_type : str
        What it is.
    """

    def __init__(self, url: str, body: bytes, media_type: str) -> None:
        target = urlsplit(url)
        self._connection = socket.create_connection((target.hostname, target.port))
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = (
            f"POST {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\n"
            f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def post(self) -> Mapping[str, str]:
        """Post the body, read the whole answer, and return its headers, names in lower case.

        Raises
        ------
        RuntimeError
            If the answer is not 200, or the server hangs up.
        """
        self._connection.sendall(self._request)
        answer = _Answer()
        parser = httptools.HttpResponseParser(answer)
        while not answer.complete:
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise RuntimeError("the server hung up")
            parser.feed_data(piece)
        if parser.get_status_code() != http.HTTPStatus.OK:
            raise RuntimeError(f"answered with {parser.get_status_code()}")
        return answer.headers

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class _Answer:
    """What the parser tells of an answer; bodies are dropped."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_message_complete(self) -> None:
        self.complete = True
