"""Every metric, its labels and its buckets. Plain numbers come in, Prometheus series go out.

Names follow Prometheus' conventions: base units, ``_total`` on counters, labels from bounded sets.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from service.domain import STAGES

REQUEST_BUCKETS_S: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Buckets of OpenTelemetry's ``http.server.request.duration``."""

STAGE_BUCKETS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
PIXEL_BUCKETS: Final = tuple(float(4**exponent) for exponent in range(5, 15))
INSTANCE_BUCKETS: Final = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
BATCH_BUCKETS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

SEGMENT_ROUTE: Final = "/segment"
SERVED_STATUSES: Final = ("200", "500", "502", "503", "504")
REFUSALS: Final = ("draining", "overloaded", "quota-exceeded")
"""Outcomes of requests that were refused before any work was done."""


class Metrics:
    """The gateway's metrics in a registry of their own, so that two apps never share a series."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.request_duration = Histogram(
            "http_server_request_duration_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.active_requests = Gauge(
            "http_server_active_requests", "Requests being answered.", registry=registry
        )
        self.stage_duration = Histogram(
            "segment_stage_duration_seconds",
            "Time a request spent in one stage.",
            ("stage",),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.requests = Counter(
            "segment_requests",
            "Segmentation requests by how they ended.",
            ("model", "outcome"),
            registry=registry,
        )
        self.client_requests = Counter(
            "segment_client_requests",
            "Segmentation requests by the name of their API key and how they ended.",
            ("client", "outcome"),
            registry=registry,
        )
        self.rejected = Counter(
            "segment_admission_rejected",
            "Requests refused before any work was done.",
            ("reason",),
            registry=registry,
        )
        self.in_flight = Gauge(
            "segment_inflight_requests", "Segmentation requests being worked on.", registry=registry
        )
        self.in_flight_limit = Gauge(
            "segment_inflight_limit", "Most requests worked on at once.", registry=registry
        )
        self.queue_depth = Gauge(
            "segment_queue_depth", "Requests waiting to be worked on.", registry=registry
        )
        self.queue_limit = Gauge(
            "segment_queue_limit", "Most requests that may wait.", registry=registry
        )
        self.workers = Gauge(
            "segment_worker_threads",
            "Threads of the worker pool.",
            ("state",),
            registry=registry,
        )
        self.instances = Histogram(
            "segment_instances_per_image",
            "Instances found in one image.",
            buckets=INSTANCE_BUCKETS,
            registry=registry,
        )
        self.image_pixels = Histogram(
            "segment_image_pixels", "Pixels of one image.", buckets=PIXEL_BUCKETS, registry=registry
        )
        self.embeddings_held = Gauge(
            "segment_kept_embeddings_bytes",
            "Memory of embeddings kept for their clients to cluster again.",
            registry=registry,
        )
        self.deadline_exceeded = Counter(
            "segment_deadline_exceeded",
            "Requests whose time ran out, by the stage that was running.",
            ("stage",),
            registry=registry,
        )
        self.backend_duration = Histogram(
            "backend_request_duration_seconds",
            "Time of one call of the network.",
            ("backend", "model", "version", "code"),
            buckets=STAGE_BUCKETS_S,
            registry=registry,
        )
        self.backend_bytes = Counter(
            "backend_payload_bytes",
            "Bytes of tensors moved to and from the inference server.",
            ("direction",),
            registry=registry,
        )
        self.backend_batch = Histogram(
            "backend_batch_size", "Images in one call.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.model_info = Gauge(
            "segment_model_info",
            "1 for every model version that is served.",
            ("name", "version", "method", "sha256"),
            registry=registry,
        )
        self.golden_check = Gauge(
            "segment_golden_check",
            "1 when the model answered its golden image as expected, 0 when it did not.",
            ("name", "version"),
            registry=registry,
        )
        self.build_info = Gauge(
            "discern_build_info",
            "1; the labels say what runs.",
            ("version", "python"),
            registry=registry,
        )
        ProcessCollector(registry=registry)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show series before their first event, or Prometheus could not see it as an increase."""
        for status in SERVED_STATUSES:
            self.request_duration.labels("POST", SEGMENT_ROUTE, status)
        for reason in REFUSALS:
            self.rejected.labels(reason)
        for stage in STAGES:
            self.stage_duration.labels(stage)
            self.deadline_exceeded.labels(stage)
        for direction in ("in", "out"):
            self.backend_bytes.labels(direction)
