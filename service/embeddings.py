"""What the network saw lately, kept for a short time so that it can be clustered again.

Bounded in bytes, altogether and for every client; what was not used longest goes first. A client
reaches only what it put in itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from service.errors import EmbeddingNotFound
from service.request import ScaledImage

CLIENT_SHARE: Final = 0.5
"""Part of the cache that one client may fill, so that the others keep theirs."""


@dataclass(frozen=True, slots=True)
class _Entry:
    client: str
    seen: ScaledImage
    expiry: asyncio.TimerHandle


class EmbeddingCache:
    """Embeddings by an id that cannot be guessed. Used from one event loop.

    Parameters
    ----------
    max_bytes : int
        Of all entries together; 0 keeps nothing.
    max_age_s : float
        An entry that is not used for this long is dropped.
    """

    def __init__(self, *, max_bytes: int, max_age_s: float) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self._max_age_s = max_age_s
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def put(self, client: str, seen: ScaledImage) -> str | None:
        """Keep what the network saw.

        Returns
        -------
        str or None
            The id to ask for it; None when it is too large to be kept.
        """
        share = int(CLIENT_SHARE * self.max_bytes)
        if seen.nbytes > share:
            return None
        own = [key for key, entry in self._entries.items() if entry.client == client]
        own_bytes = sum(self._entries[key].seen.nbytes for key in own)
        for key in own:
            if own_bytes + seen.nbytes <= share:
                break
            own_bytes -= self._entries[key].seen.nbytes
            self._drop(key)
        while self.held_bytes + seen.nbytes > self.max_bytes:
            self._drop(next(iter(self._entries)))
        key = secrets.token_urlsafe(16)
        self._entries[key] = _Entry(client, seen, self._expiry(key))
        self.held_bytes += seen.nbytes
        return key

    def get(self, client: str, key: str) -> ScaledImage:
        """Return what was kept, and keep it for longer.

        Raises
        ------
        EmbeddingNotFound
            If there is nothing of that id, any more or for this client.
        """
        entry = self._entries.get(key)
        if entry is None or entry.client != client:
            raise EmbeddingNotFound(
                "the embedding is not held here, or no longer; send the image again"
            )
        entry.expiry.cancel()
        self._entries[key] = _Entry(client, entry.seen, self._expiry(key))
        self._entries.move_to_end(key)
        return entry.seen

    def clear(self) -> None:
        """Let everything go."""
        for key in list(self._entries):
            self._drop(key)

    def _expiry(self, key: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._max_age_s, self._drop, key)

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key)
        entry.expiry.cancel()
        self.held_bytes -= entry.seen.nbytes
