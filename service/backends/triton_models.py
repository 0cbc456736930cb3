"""What the servers have: asked for, remembered for a moment, asked again when it proves wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Final

import grpc
from tritonclient.grpc import service_pb2

from service.backends.base import Model
from service.backends.model_config import model_from_config
from service.backends.triton_servers import (
    CONTROL_TIMEOUT_S,
    PROBE_TIMEOUT_S,
    Server,
    Servers,
)
from service.domain import Deadline
from service.errors import (
    ArtefactError,
    BackendError,
    BackendUnavailable,
    DeadlineExceeded,
    ModelNotFound,
)

FRESH_S: Final = 2.0
"""How long an answer of the servers is believed."""

JUST_NOW_S: Final = 0.1
"""How long it is also believed that a model is not there, which may be loaded since."""

_log = logging.getLogger(__name__)


class Catalogue:
    """Every model version that is ready.

    Parameters
    ----------
    servers : Servers
        Any of them is asked: they are copies of one another.
    """

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._served: dict[tuple[str, str], Model] = {}
        self._asked_at_s = self._told_at_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._asks = self._heard = 0
        self._refused: set[str] = set()

    def forget(self) -> None:
        """Ask again at the next occasion: what is being asked now may be answered already."""
        self._asked_at_s = self._told_at_s = float("-inf")
        self._asking = None

    async def models(self) -> Sequence[Model]:
        """Return every model version that is ready, as the servers say now."""
        await self._refresh()
        return [model for _, model in sorted(self._served.items())]

    async def find(self, name: str, version: str | None) -> Model:
        """Return one model version, the newest when `version` is None.

        Raises
        ------
        ModelNotFound
            If there is none of that name and version.
        BackendUnavailable
            If no server answers, and none has told of this model.
        """
        if not self._served:
            await self._refresh()
        elif time.monotonic() - self._asked_at_s >= FRESH_S and self._servers.connected():
            await self._renew()
        found = self._lookup(name, version)
        if found is None and time.monotonic() - self._told_at_s >= JUST_NOW_S:
            await self._refresh()
            found = self._lookup(name, version)
        if found is None:
            known = ", ".join(sorted({name for name, _ in self._served})) or "none"
            wanted = f"{name!r}" if version is None else f"{name!r} version {version!r}"
            raise ModelNotFound(f"there is no model {wanted}; models here: {known}")
        return found

    def _lookup(self, name: str, version: str | None) -> Model | None:
        if version is not None:
            return self._served.get((name, version))
        versions = [key for key in self._served if key[0] == name]
        return self._served[max(versions, key=lambda key: int(key[1]))] if versions else None

    async def _renew(self) -> None:
        """Ask again. What is known holds while no server says otherwise: the call will tell."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._refresh()
        except (TimeoutError, BackendError):
            self._asked_at_s = time.monotonic()  # that others do not wait for it too

    async def _refresh(self) -> None:
        """Ask the servers, once for all who want to know meanwhile, and who may leave again."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_servers())
            self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        asking = self._asking
        await asyncio.wait({asking})
        asking.result()

    async def _ask_servers(self) -> None:
        within = Deadline.after(CONTROL_TIMEOUT_S)
        self._asks += 1
        number = self._asks
        try:
            served = await self._servers.call(within, self._read)
        except DeadlineExceeded as error:  # ours, not the caller's
            raise BackendUnavailable(error.detail) from error
        if number > self._heard:  # else who was asked later has answered before
            self._served, self._heard = served, number
        if self._asking is asyncio.current_task():  # else it may be what was before `forget`
            self._asked_at_s = self._told_at_s = time.monotonic()

    async def _read(self, server: Server) -> dict[tuple[str, str], Model]:
        index = await server.stub.RepositoryIndex(
            service_pb2.RepositoryIndexRequest(ready=True), timeout=CONTROL_TIMEOUT_S
        )
        served = {}
        for entry in index.models:
            model = await self._ask(server, entry.name, entry.version) if entry.version else None
            if model is not None:
                served[entry.name, entry.version] = model
        return served

    async def _ask(self, server: Server, name: str, version: str) -> Model | None:
        """Return a model as the server describes it; None for one that is gone, or not ours."""
        request = service_pb2.ModelConfigRequest(name=name, version=version)
        try:
            reply = await server.stub.ModelConfig(request, timeout=CONTROL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:  # unloaded since the index was written
                return None
            raise
        return self._describe(reply.config, version)

    def _describe(self, config: Any, version: str) -> Model | None:
        """Return a model as we need it; None for one that is not ours to serve."""
        try:
            return model_from_config(config, version)
        except ArtefactError as error:
            if config.name not in self._refused:  # said once, not every few seconds
                _log.warning("model left out: %s", error.detail)
                self._refused.add(config.name)
            return None
