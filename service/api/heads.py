"""A bound on what a connection sends beside bodies: before it, any number of bytes were kept."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES: Final = 2**16
"""As much as uvicorn allows where h11 parses."""


class BoundedHeads(HttpToolsProtocol):
    """Close a connection on which too much arrives without a piece of a body or a request's end.

    That is a request line, headers, trailers or the extensions of a chunk. The parser that uvicorn
    uses keeps them whole and bounds none, and nobody knows yet who sends them.
    """

    _beside_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        self._beside_bytes += len(data)
        super().data_received(data)
        if self._beside_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {MAX_HEAD_BYTES} bytes of headers.")

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._beside_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that a request is complete."""
        self._beside_bytes = 0
        super().on_message_complete()
