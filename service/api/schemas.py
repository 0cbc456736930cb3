"""The wire format: what a request may say, and what an answer looks like."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, LiteralString

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from service.domain import MAX_INSTANCES, MAX_TILE_PX, MIN_TILE_PX, STAGES
from service.imaging.scaling import MAX_SCALE, MIN_SCALE
from service.imaging.tiff import MAX_PAGES
from service.jobs.records import State

MIN_BANDWIDTH = 0.001  # far below what any network's clusters measure
MAX_BANDWIDTH = 1000.0
MIN_PROBABILITY = 0.001
MAX_PROBABILITY = 0.999
MAX_AREA_PX = 2**31 - 1
MAX_CHANNELS = 4
MAX_TIMEOUT_S = 86_400


class Format(StrEnum):
    """How an answer is written."""

    RLE = "rle"
    """COCO run lengths, compressed."""
    RLE_UNCOMPRESSED = "rle_uncompressed"
    """COCO run lengths as lists of numbers."""
    POLYGONS = "polygons"
    """GeoJSON MultiPolygons along pixel edges, holes included."""
    COCO = "coco"
    """A bare list of COCO results, as COCOeval loads it."""
    LABEL_PNG = "label_png"
    """16-bit label image."""
    OVERLAY_PNG = "overlay_png"
    """The image with its instances drawn in."""
    EMBEDDING_PNG = "embedding_png"
    """What the network saw: first three principal components as colours."""
    FOREGROUND_PNG = "foreground_png"
    """Foreground probability, 0..255; the highest of all classes."""
    INPUT_PNG = "input_png"
    """The image as it was segmented: upright, RGB, 8 bits."""
    PANELS_PNG = "panels_png"
    """Input, foreground, embedding and instances side by side."""
    IMAGEJ_ZIP = "imagej_zip"
    """One ImageJ ROI per instance, as its ROI Manager opens them."""


def _told(kind: LiteralString, sentence: LiteralString, **bounds: str) -> WrapValidator:
    """Say in one sentence what a value may be, not once for every type that it may have."""

    def told(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(value)
        except ValidationError:
            raise PydanticCustomError(kind, sentence, bounds) from None

    return WrapValidator(told)


ALL: Final = "all"
"""Every page of a file."""

Page = Annotated[
    Annotated[int, Field(ge=0, lt=MAX_PAGES)] | Literal["all"],
    _told("page", "must be a whole number from 0 to {last}, or all", last=str(MAX_PAGES - 1)),
]
Scale = Annotated[
    Annotated[float, Field(ge=MIN_SCALE, le=MAX_SCALE)] | Literal["auto"],
    _told(
        "scale",
        "must be a number from {least} to {most}, or auto",
        least=f"{MIN_SCALE:g}",
        most=f"{MAX_SCALE:g}",
    ),
]
CategoryIds = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(,[0-9]{1,9}){0,255}$")]


class SegmentQuery(BaseModel):
    """Query parameters of ``POST /segment``; all optional, unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,128}$")] | None = Field(
        None, description="Name of the model; see `GET /models`."
    )
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")] | None = Field(
        None, description="Version of the model; the newest when absent."
    )
    format: Format | None = Field(
        None, description="How the answer is written; from `Accept` when absent."
    )
    min_area: int | None = Field(
        None, ge=0, le=MAX_AREA_PX, description="Smallest instance, in pixels."
    )
    min_score: float | None = Field(
        None, ge=0, le=1, description="Lowest score of an instance; the model's own when absent."
    )
    max_instances: int = Field(
        MAX_INSTANCES, ge=1, le=MAX_INSTANCES, description="Most instances; the best scored stay."
    )
    bandwidth: float | None = Field(
        None,
        ge=MIN_BANDWIDTH,
        le=MAX_BANDWIDTH,
        description="Clustering radius, in embedding units.",
    )
    foreground_threshold: float | None = Field(
        None,
        ge=MIN_PROBABILITY,
        le=MAX_PROBABILITY,
        description="Probability above which a pixel belongs to an object.",
    )
    page: Page | None = Field(
        None,
        description="Page of a TIFF file, counted from 0; the first when absent. `all`, of a batch "
        "or a job: every page of every file, each an image of its own, named NAME/PAGE.",
    )
    channel: int | None = Field(
        None,
        ge=0,
        lt=MAX_CHANNELS,
        description="The one channel that is segmented, as grey, counted from 0; all of them, as "
        "colours, when absent.",
    )
    scale: Scale | None = Field(
        None,
        description="By how much larger the network sees the image, where its objects are not as "
        "large as those of the training images; masks come back at the size of the image. "
        "`auto`: by as much as suits it, found by looking at several scales. 1 when absent.",
    )
    classes: CategoryIds | None = Field(
        None, description="Category ids to look for, comma separated; all when absent."
    )
    tile: int | None = Field(
        None,
        ge=MIN_TILE_PX,
        le=MAX_TILE_PX,
        description="Longest side that goes through the network at once, in pixels; a larger image "
        "is cut into overlapping tiles.",
    )
    timeout_ms: int | None = Field(
        None, ge=1, description="Longest time the answer may take, in milliseconds."
    )
    image_id: int = Field(
        0, ge=0, le=2**53 - 1, description="`image_id` of every result in the format `coco`."
    )
    keep: bool = Field(
        default=False,
        description="Keep what the network saw for a short time; the header `Embedding-Id` of the "
        "answer names it.",
    )
    embedding: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")] | None = Field(
        None,
        description="Cluster again what was kept under this id; the request has no body then.",
    )


class SegmentHeaders(BaseModel):
    """Headers of ``POST /segment`` that say what is wanted; all optional."""

    model_config = ConfigDict(frozen=True)

    timeout_s: float | None = Field(
        None,
        alias="X-Request-Timeout",
        gt=0,
        le=MAX_TIMEOUT_S,
        allow_inf_nan=False,
        description="Longest time the answer may take, in seconds; the shorter of this and "
        "`timeout_ms` holds.",
    )
    prefer: str = Field(
        "", alias="Prefer", description="`respond-async`: answer at once, work later."
    )
    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        description="The same key and content again give the job of before, and no second one.",
    )


class ModelRef(BaseModel):
    """Which model answered."""

    name: str
    version: str
    method: str


class ImageInfo(BaseModel):
    """The image as it was segmented."""

    width: int = Field(description="Pixels, after orientation.")
    height: int = Field(description="Pixels, after orientation.")
    format: str = Field(description="File format that was recognised.")
    orientation_applied: bool = Field(description="EXIF asked for a turn and it was carried out.")
    source_bits: int = Field(description="Bits per channel in the file.")
    scaled_range: tuple[float, float] | None = Field(
        description="Source values that became 0 and 255 when the file had more than 8 bits."
    )
    frames: int = Field(description="Frames or pages in the file; one is segmented.")
    page: int = Field(description="Which, counted from 0.")
    channel: int | None = Field(description="The channel that was segmented; all when null.")
    scale: float = Field(description="By how much larger the network saw it.")


class CategoryOut(BaseModel):
    """A class of objects."""

    id: int
    name: str


class RleOut(BaseModel):
    """COCO run lengths: compressed (`counts` is a string) or not (`counts` is a list)."""

    size: tuple[int, int] = Field(description="Height, width.")
    counts: str | list[int]


class PolygonsOut(BaseModel):
    """Outlines along pixel edges, in pixels: polygons of rings of x, y; the first ring is outer."""

    type: Literal["MultiPolygon"]
    coordinates: list[list[list[tuple[float, float]]]]


class InstanceOut(BaseModel):
    """One object."""

    id: int
    category: CategoryOut
    score: float = Field(ge=0, le=1)
    area: int = Field(description="Pixels.")
    bbox: tuple[int, int, int, int] = Field(description="COCO: x, y, width, height in pixels.")
    centroid: tuple[float, float] = Field(description="x, y in pixels.")
    segmentation: RleOut | PolygonsOut = Field(
        description="Run lengths, or outlines in the format `polygons`."
    )


class CocoOut(BaseModel):
    """One object as COCO's result files have it."""

    image_id: int
    category_id: int
    segmentation: RleOut
    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height in pixels.")
    area: int = Field(description="Pixels.")
    score: float = Field(ge=0, le=1)
    iscrowd: Literal[0]


class SegmentAnswer(BaseModel):
    """Answer of ``POST /segment`` in the formats `rle`, `rle_uncompressed` and `polygons`."""

    request_id: str
    model: ModelRef
    image: ImageInfo
    instances: list[InstanceOut]
    timings_ms: dict[str, float] = Field(
        description=f"Milliseconds in {', '.join(STAGES)}, and their total."
    )


class ProblemOut(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str


class ProtocolError(BaseModel):
    """An error as the Open Inference Protocol has it."""

    error: str


class JobOut(BaseModel):
    """How far a job is."""

    id: str
    status: State
    total: int = Field(description="Images.")
    finished: int = Field(description="Images that have an answer or a problem document.")
    failed: int = Field(description="Images of those that have a problem document.")
    created: datetime
    expires: datetime | None = Field(description="When the job is forgotten; set when it is over.")
    result: str | None = Field(description="Where the result is, once everything is finished.")


class ModelOut(BaseModel):
    """A model version that is served."""

    name: str
    version: str
    default: bool
    method: str
    classes: list[CategoryOut]
    embedding_size: int
    stride: int
    size_multiple: int
    foreground_threshold: float
    min_score: float
    decoder: dict[str, float]
    object_px: float = Field(
        description="Median diameter of the objects that it knows, in pixels; 0 when not known."
    )
    network_sha256: str
    max_batch: int


class Bound(BaseModel):
    """Inclusive bounds of a number."""

    min: float
    max: float


class LimitsOut(BaseModel):
    """What this server accepts."""

    max_body_bytes: int
    max_image_pixels: int
    max_image_side_px: int
    max_job_bytes: int = Field(
        description="Of a batch or a job of several images: of the body, and of what is unpacked."
    )
    max_job_images: int = Field(
        description="Images of a batch, or of a job; with `page=all`, pages."
    )
    media_types: list[str]
    formats: list[str]
    timeout_ms: Bound
    default_timeout_ms: int
    bandwidth: Bound
    foreground_threshold: Bound
    min_score: Bound
    min_area: Bound
    scale: Bound
    tile: Bound
    max_instances: Bound
    in_flight: int
    queue: int
    embeddings_kept_s: float = Field(description="How long `keep=true` lasts; 0 when it is off.")
