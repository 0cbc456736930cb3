"""The parts of a gateway, put together once, with or without HTTP in front."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

from service.backends.base import Backend
from service.backends.factory import create_backend
from service.embeddings import EmbeddingCache
from service.lifecycle import Lifecycle
from service.pipeline import Segmenter
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.workers import Gate, Workers


@dataclass(frozen=True, slots=True)
class Gateway:
    """A pipeline with what it needs to run, and what watches over it."""

    settings: Settings
    backend: Backend
    gate: Gate
    workers: Workers
    segmenter: Segmenter
    lifecycle: Lifecycle
    metrics: Metrics
    embeddings: EmbeddingCache

    async def aclose(self) -> None:
        """Take nothing new, finish what runs, close the backend, end the threads."""
        self.lifecycle.refuse()
        self.embeddings.clear()
        await self.backend.aclose()
        self.workers.close()


def assemble(
    settings: Settings, workers: Workers | None = None, backend: Backend | None = None
) -> Gateway:
    """Return a gateway that is not yet started (`Lifecycle.start`).

    Parameters
    ----------
    settings : Settings
        Everything that can be chosen.
    workers : Workers, optional
        What runs its functions, if not a pool as the settings ask for.
    backend : Backend, optional
        Where its networks run, if not where the settings say.
    """
    metrics = Metrics()
    workers = workers or Workers(settings.worker_count(), nice=settings.compute_nice)
    gate = Gate(
        slots=settings.in_flight_limit(),
        waiting=settings.max_queue,
        held_bytes=settings.max_queue_bytes,
    )
    backend = backend or create_backend(settings)
    segmenter = Segmenter(backend, workers, gate, metrics, settings.image_limits())
    lifecycle = Lifecycle(segmenter, workers, metrics, default_model=settings.default_model)
    embeddings = EmbeddingCache(
        max_bytes=settings.embedding_cache_bytes, max_age_s=settings.embedding_cache_s
    )
    _watch(metrics, gate, workers)
    metrics.embeddings_held.set_function(lambda: embeddings.held_bytes)
    return Gateway(settings, backend, gate, workers, segmenter, lifecycle, metrics, embeddings)


def _watch(metrics: Metrics, gate: Gate, workers: Workers) -> None:
    metrics.in_flight.set_function(lambda: gate.in_flight)
    metrics.in_flight_limit.set(gate.slots)
    metrics.queue_depth.set_function(lambda: gate.depth)
    metrics.queue_limit.set(gate.waiting)
    metrics.workers.labels("busy").set_function(lambda: workers.busy)
    metrics.workers.labels("idle").set_function(lambda: workers.threads - workers.busy)
    metrics.build_info.labels(version("discern"), platform.python_version()).set(1)
