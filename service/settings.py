"""Every setting of the gateway, read from the environment here and nowhere else.

Each field is the environment variable ``DISCERN_<NAME>``; the README's table is made from this
class.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.domain import MAX_INSTANCES, MAX_TILE_PX, MIN_TILE_PX, TILE_PX, ImageLimits

_LIMITS = ImageLimits()


class Settings(BaseSettings):
    """The gateway's settings; `unknown_variables` tells what is meant to be one and is none."""

    model_config = SettingsConfigDict(env_prefix="DISCERN_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")

    api_keys_file: Path | None = Field(
        None,
        description="File of API keys, by digest (`discern key NAME` makes one); read again when "
        "it changes. Without it anyone who reaches the port may ask.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Start without API keys on an address that others can reach.",
    )
    quota: str = Field(
        "", description="Requests one caller may send, such as `600/minute`; empty for any number."
    )
    quota_store: str = Field(
        "",
        description="Where several gateways count together (`redis://host:6379`); empty counts in "
        "this process.",
    )
    cors_origins: str = Field(
        "",
        description="Web origins whose pages may call this server, comma separated; empty is none.",
    )

    model_repository: Path = Field(
        Path("model_repository"), description="Folder of models for the embedded backend."
    )
    default_model: str = Field("nuclei", description="Model used when a request names none.")
    triton_url: str = Field(
        "",
        description="Triton gRPC addresses, comma separated (`host:8001`); empty runs the network "
        "in this process.",
    )
    triton_wait_ms: int = Field(
        3_000,
        ge=0,
        description="How long a request waits for a Triton server when none is connected, in "
        "milliseconds.",
    )
    triton_shared_memory: bool = Field(
        default=False,
        description="Hand tensors to Triton through shared memory; it must run on this host, as "
        "the same user, with the same `/dev/shm`.",
    )
    triton_shared_memory_bytes: int = Field(
        512 * 2**20, ge=2**20, description="Shared memory for tensors at most, in bytes."
    )

    workers: int = Field(
        0, ge=0, le=256, description="Post-processing threads; 0 means one per core."
    )
    inference_threads: int = Field(
        0, ge=0, le=256, description="Threads of the embedded network; 0 means one per core."
    )

    compute_nice: int = Field(
        5,
        ge=0,
        le=19,
        description="By how much threads that compute stand back behind the one that accepts, "
        "answers and refuses (`nice`, on Linux).",
    )

    max_body_bytes: int = Field(
        _LIMITS.max_bytes, ge=1024, description="Largest request body, in bytes."
    )
    max_image_pixels: int = Field(
        _LIMITS.max_pixels, ge=1, description="Most pixels an image may have (from its header)."
    )
    max_image_side_px: int = Field(
        _LIMITS.max_side_px, ge=1, description="Longest side an image may have."
    )
    tile_px: int = Field(
        TILE_PX,
        ge=MIN_TILE_PX,
        le=MAX_TILE_PX,
        description="Longest side that goes through the network at once, in pixels; larger images "
        "are cut into overlapping tiles. Bounds the memory of a request.",
    )
    max_instances: int = Field(
        MAX_INSTANCES,
        ge=1,
        le=MAX_INSTANCES,
        description="Most instances an answer may hold; the best scored stay.",
    )

    url_hosts: str = Field(
        "",
        description="Hosts that images are fetched from (`image.url` in a JSON body), comma "
        "separated, by HTTPS unless written `http://host`; empty fetches none.",
    )
    url_private: bool = Field(
        default=False,
        description="Whether those hosts may have addresses that the public network cannot reach.",
    )

    max_in_flight: int = Field(
        0, ge=0, description="Requests worked on at once; 0 means twice the workers."
    )
    max_queue: int = Field(64, ge=0, description="Requests waiting beyond those; more are refused.")
    max_queue_bytes: int = Field(
        256 * 2**20,
        ge=2**20,
        description="Memory for the bodies of all requests together, in bytes; more are refused.",
    )
    receive_s: float = Field(
        30.0,
        gt=0,
        description="Longest time the body of a request may take to arrive, and the caller of a "
        "batch to read on, in seconds.",
    )
    timeout_ms: int = Field(
        30_000, ge=1, description="Time for a request that names no timeout, in milliseconds."
    )
    max_timeout_ms: int = Field(
        300_000, ge=1, description="Longest timeout a request may ask for, in milliseconds."
    )
    embedding_cache_bytes: int = Field(
        256 * 2**20,
        ge=0,
        description="Memory for embeddings that clients asked to keep (`keep=true`), in bytes; one "
        "client may fill half; 0 keeps none.",
    )
    embedding_cache_s: float = Field(
        300.0, gt=0, description="How long an embedding that is not used is kept, in seconds."
    )
    jobs_file: Path = Field(
        Path(".discern/jobs.sqlite3"),
        description="File that keeps jobs over a restart; made with the first job.",
    )
    jobs_store: str = Field(
        "",
        description="Where several gateways keep jobs together (`redis://host:6379`, extra "
        "`redis`); empty keeps them in the file of this one.",
    )
    job_lease_s: float = Field(
        30.0,
        gt=0,
        description="After so many seconds without a sign of life from a gateway, others that "
        "share its jobs take over what it was working on.",
    )
    jobs_max_bytes: int = Field(
        2 * 2**30, ge=2**20, description="Images and results of all jobs together, in bytes."
    )
    max_job_bytes: int = Field(
        256 * 2**20, ge=1024, description="Images of one job together, in bytes."
    )
    max_job_images: int = Field(1000, ge=1, description="Images in one job at most.")
    job_runners: int = Field(1, ge=1, le=64, description="Images of jobs worked on at once.")
    job_keep_s: float = Field(
        3600.0, gt=0, description="How long the results of a job are kept, in seconds."
    )
    drain_notice_s: float = Field(
        0.0,
        ge=0,
        description="How long requests are still taken at shutdown, after readiness has gone, so "
        "that balancers see it, in seconds.",
    )
    adapters: str = Field(
        "",
        pattern=r"^((cvat|label_studio)(,(cvat|label_studio))?)?$",
        description="Labelling tools to answer in their own way, comma separated: `cvat`, "
        "`label_studio`.",
    )
    label_studio_url: str = Field(
        "",
        pattern=r"^(https?://[A-Za-z0-9.:\[\]-]+)?$",
        description="Where this server reaches Label Studio (`http://label-studio:8080`), to fetch "
        "what was uploaded there or lies in its local files; empty fetches nothing from it.",
    )
    label_studio_token_file: Path | None = Field(
        None, description="File of the access token that Label Studio asks for."
    )
    drain_s: float = Field(
        30.0, ge=0, description="Longest wait for requests in flight at shutdown, in seconds."
    )

    otlp_endpoint: str = Field(
        "",
        description="Where to send traces, OTLP over HTTP (`http://collector:4318/v1/traces`); "
        "empty sends none. Needs the extra `otlp`.",
    )
    trace_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Part of the traces that begin here which is sent; of others the caller's "
        "`traceparent` decides.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["auto", "json", "human"] = Field(
        "auto", description="`auto` is human on a terminal and JSON elsewhere."
    )

    def image_limits(self) -> ImageLimits:
        """Return what an image may be at most."""
        return ImageLimits(
            max_bytes=self.max_body_bytes,
            max_pixels=self.max_image_pixels,
            max_side_px=self.max_image_side_px,
        )

    def network_is_here(self) -> bool:
        """Return whether the network runs in this process, and not on an inference server."""
        return not self.triton_url

    def adapter_names(self) -> tuple[str, ...]:
        """Return the labelling tools to answer, each once."""
        return tuple(dict.fromkeys(name for name in self.adapters.split(",") if name))

    def worker_count(self) -> int:
        """Return the number of post-processing threads."""
        return self.workers or os.cpu_count() or 1

    def inference_thread_count(self) -> int:
        """Return the number of threads of the embedded network."""
        return self.inference_threads or os.cpu_count() or 1

    def in_flight_limit(self) -> int:
        """Return how many requests are worked on at once."""
        return self.max_in_flight or 2 * self.worker_count()


def unknown_variables() -> list[str]:
    """Return the variables ``DISCERN_*`` that nothing reads: most likely a slip of the pen."""
    known = {f"DISCERN_{name.upper()}" for name in Settings.model_fields}
    known.add("DISCERN_API_KEY")  # of the command line's client
    return sorted(name for name in os.environ if name.startswith("DISCERN_") and name not in known)
