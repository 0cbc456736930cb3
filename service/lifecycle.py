"""From start to end: when the gateway is ready, why it is not, and how it drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from service.backends.base import Model, ModelControl
from service.errors import (
    BackendFailed,
    BackendUnavailable,
    CapacityError,
    DeadlineExceeded,
    DiscernError,
)
from service.golden import check_golden
from service.pipeline import Segmenter
from service.telemetry.metrics import Metrics
from service.warmup import compile_kernels
from service.workers import Workers

RETRY_S: Final = 0.5
"""Pause between two attempts to reach a backend that is not there yet."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests should be sent here, and if not, why."""

    ready: bool
    reasons: tuple[str, ...] = ()


class Lifecycle:
    """Starts the backend, checks the models, and knows whether all is well.

    Parameters
    ----------
    segmenter : Segmenter
        The pipeline that will serve.
    workers : Workers
        Its pool.
    metrics : Metrics
        Gets the outcome of each golden check.
    default_model : str
        The model that must be there.
    """

    def __init__(
        self, segmenter: Segmenter, workers: Workers, metrics: Metrics, *, default_model: str
    ) -> None:
        self._segmenter = segmenter
        self._workers = workers
        self._metrics = metrics
        self._default_model = default_model
        self._reasons: tuple[str, ...] = ("starting",)
        self._opened = False
        self._wrong: set[str] = set()
        self.started = asyncio.Event()
        self.failed: str | None = None
        self.draining = False
        self.refusing = False
        self.model_names: frozenset[str] = frozenset()

    async def start(self, *, patient: bool = True) -> None:
        """Compile the kernels, open the backend, check every model.

        Returns when the gateway may serve, or when `failed` says why it never will.

        Parameters
        ----------
        patient : bool
            Whether to wait for a backend that is away; else `readiness` says that it is.
        """
        try:
            await asyncio.to_thread(compile_kernels)
            while not await self._open() and patient:  # noqa: ASYNC110 - what we wait for is another machine
                await asyncio.sleep(RETRY_S)
        except DiscernError as error:
            self._fail(error.detail)
        except Exception as error:  # noqa: BLE001 - nobody else would hear of it
            _LOG.exception("a fault while starting")
            self._fail(f"the start failed: {error!r}")
        self.started.set()

    def _fail(self, reason: str) -> None:
        self._reasons = (reason,)
        self.failed = reason
        _LOG.error("not ready: %s", reason)

    async def readiness(self) -> Readiness:
        """Return whether requests should be sent here."""
        if self.draining:
            return Readiness(ready=False, reasons=("draining",))
        if self._reasons:
            return Readiness(ready=False, reasons=self._reasons)
        if not await self._segmenter.backend.ready():
            return Readiness(ready=False, reasons=("the inference server is not ready",))
        return Readiness(ready=True)

    def drain(self) -> None:
        """Be ready no more, so that balancers look elsewhere; requests are still taken."""
        self.draining = True

    def refuse(self) -> None:
        """Take no new work; what is in flight goes on."""
        self.draining = self.refusing = True

    async def load(self, name: str) -> None:
        """Load a model's newest version and check it.

        Raises
        ------
        ModelNotFound
            If there is no such model.
        BackendFailed
            If it does not load: what was there keeps serving, unless it was wrong. Or if it does
            not answer its golden image: then this gateway is not ready until a version is loaded
            that does.
        BackendUnavailable
            If this backend cannot be told what to load.
        """
        backend = self._segmenter.backend
        if not isinstance(backend, ModelControl):
            raise BackendUnavailable("this backend loads no models when told to", retry_after_s=60)
        if name in self._wrong:  # else it might stay as the version before the new one
            await backend.unload(name)
            self._wrong.discard(name)
        await backend.load(name)
        await self._check_models()
        if self._reasons:
            raise BackendFailed("; ".join(self._reasons))

    async def _open(self) -> bool:
        """Open the backend and check its models; say whether it was there."""
        try:
            if not self._opened:
                await self._segmenter.backend.start()
                self._opened = True
            await self._check_models()
        except (BackendUnavailable, CapacityError, DeadlineExceeded) as error:
            if self._reasons != (error.detail,):
                _LOG.warning("waiting for the backend: %s", error.detail)
            self._reasons = (error.detail,)
            return False
        return True

    async def _check_models(self) -> None:
        backend = self._segmenter.backend
        checked = [
            (model, await check_golden(backend, self._workers, model))
            for model in await backend.models()
        ]
        self._show(checked)
        self._wrong = {model.name for model, problem in checked if problem}
        problems = tuple(problem for _, problem in checked if problem)
        for problem in problems:
            _LOG.error("golden check failed: %s", problem)
        self.model_names = frozenset(model.name for model, _ in checked)
        await backend.model(self._default_model)  # it must be there
        self._reasons = problems

    def _show(self, checked: Sequence[tuple[Model, str | None]]) -> None:
        """Let the metrics tell of these models, and no more of those that are gone."""
        self._metrics.model_info.clear()
        self._metrics.golden_check.clear()
        for model, problem in checked:
            recipe = model.recipe
            self._metrics.model_info.labels(
                model.name, model.version, recipe.method, recipe.network_sha256
            ).set(1)
            self._metrics.golden_check.labels(model.name, model.version).set(problem is None)
