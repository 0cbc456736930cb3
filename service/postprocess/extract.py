"""From the network's output to instances: crop, decode by method, score, filter, encode.

What a worker runs; nothing below knows about models, requests or settings.

Axes: E embedding, C classes, H W image, h w network output, K instances.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from service import signature
from service.arrays import Bool, Floats, Int32
from service.decoder_settings import DECODER_SETTINGS
from service.domain import Prediction
from service.errors import BackendFailed, BadParameter
from service.masks.rle import describe_labels
from service.postprocess.associative import decode_associative
from service.postprocess.calibration import calibrated
from service.postprocess.clustering import decode_discriminative
from service.postprocess.decoded import Decoded
from service.postprocess.foreground import foreground_masks
from service.postprocess.labelled import (
    DEFAULT_OPTIONS,
    ExtractOptions,
    Found,
    Labelled,
    chosen,
)
from service.postprocess.metric_learning import decode_metric_learning
from service.postprocess.quantised import dequantise
from service.postprocess.recurrent import decode_recurrent
from service.postprocess.regions import areas, first_pixels
from service.postprocess.resizing import at_size, options_at
from service.postprocess.scores import expected_iou
from service.postprocess.segmentation import Segmentation
from service.postprocess.spatial import decode_spatial
from service.recipe import Recipe

Mask = Bool


def extract(
    prediction: Prediction,
    recipe: Recipe,
    seen: tuple[int, int],
    options: ExtractOptions = DEFAULT_OPTIONS,
    size: tuple[int, int] | None = None,
) -> Segmentation:
    """Find the instances of one image.

    Parameters
    ----------
    prediction : Prediction
        At the size that went into the network: the image, padded at the right and the bottom.
    recipe : Recipe
        How to read it.
    seen : tuple of int
        ``(h, w)`` that the network saw of it.
    options : ExtractOptions
        What the caller asks for.
    size : tuple of int, optional
        ``(H, W)`` of the upright image, where it is another.

    Returns
    -------
    Segmentation
        Instances in descending order of score, on a tie by their first pixel in raster order; the
        label image holds their ids.

    Raises
    ------
    BackendFailed
        If the tensors do not cover the image.
    """
    size = size or seen
    found = label(prediction, recipe, seen, options_at(options, size, seen))
    return rank(at_size(found, size, options.min_area), recipe, options)


def label(
    prediction: Prediction,
    recipe: Recipe,
    size: tuple[int, int],
    options: ExtractOptions = DEFAULT_OPTIONS,
) -> Labelled:
    """Decode and score, class by class; parameters and errors as for `extract`."""
    if recipe.clustered:
        return _as_the_server_found(prediction, recipe, size, options)
    found = find(prediction, recipe, size, options)
    scores = calibrated(found.confidence, found.overlap, recipe.score_calibration)
    return Labelled(found.labels, scores, found.classes)


def find(
    prediction: Prediction,
    recipe: Recipe,
    size: tuple[int, int],
    options: ExtractOptions = DEFAULT_OPTIONS,
) -> Found:
    """Decode, class by class; parameters and errors as for `extract`."""
    height, width = size
    logits = prediction.foreground_logits[:, :height, :width]
    if logits.shape != (len(recipe.classes), height, width):
        raise BackendFailed(
            f"the network's foreground {prediction.foreground_logits.shape} does not cover "
            f"{len(recipe.classes)} classes of {height} x {width} pixels"
        )
    masks = foreground_masks(logits, options.foreground_threshold or recipe.foreground_threshold)
    labels: Int32 | None = None
    confidence: list[float] = []
    overlap: list[float] = []
    classes: list[int] = []
    for c, category in enumerate(recipe.classes):
        if options.class_ids is not None and category.id not in options.class_ids:
            continue
        found = _decode(prediction, recipe, c, masks[c], options)
        count = found.confidence.size
        overlap.extend(expected_iou(found.labels, logits[c], count).tolist())
        if labels is None:
            labels = found.labels
        else:
            np.add(found.labels, len(confidence), out=labels, where=found.labels > 0)
        confidence.extend(found.confidence.tolist())
        classes.extend([c] * count)
    if labels is None:  # no class was asked for that the network knows
        labels = np.zeros(size, np.int32)
    return Found(
        labels,
        np.array(confidence, np.float64),
        np.array(overlap, np.float64),
        np.array(classes, np.int64),
    )


def rank(found: Labelled, recipe: Recipe, options: ExtractOptions) -> Segmentation:
    """Order instances by score, keep those asked for, and encode them.

    Parameters
    ----------
    found : Labelled
        Its label image may be renumbered in place.
    recipe : Recipe
        Names the classes.
    options : ExtractOptions
        What the caller asks for.
    """
    labels, scores = found.labels, found.scores
    order = np.argsort(-scores, kind="stable")
    if (scores[order[1:]] == scores[order[:-1]]).any():
        order = np.lexsort((first_pixels(labels, scores.size), -scores))
    least = recipe.min_score if options.min_score is None else options.min_score
    order = order[scores[order] >= least][: options.max_instances]
    if order.size < scores.size:  # else all are encoded in vain that nobody asked for
        found = chosen(found, order)
        order = np.arange(order.size)
    regions = describe_labels(labels)
    return Segmentation(labels, order, regions, found.scores, found.classes, recipe.classes)


def _as_the_server_found(
    prediction: Prediction, recipe: Recipe, size: tuple[int, int], options: ExtractOptions
) -> Labelled:
    """Crop and filter what a server that clusters has found."""
    for name in ("bandwidth", "foreground_threshold"):
        if getattr(options, name) is not None:
            raise BadParameter(
                f"the instances of this model are found on the inference server: {name} is its own",
                parameter=name,
            )
    parts = (prediction.extras[name] for name in (signature.LABELS, signature.SCORES))
    labels, scores = (np.asarray(part) for part in parts)
    labels = labels[: size[0], : size[1]].astype(np.int32)
    classes = prediction.extras[signature.CLASSES].astype(np.int64)
    if labels.shape != size or labels.max(initial=0) > scores.size:
        raise BackendFailed(f"the labels {labels.shape} do not cover the image, or have no score")
    keep = areas(labels, scores.size)[1:] >= max(_least(recipe, options), 1)
    if options.class_ids is not None:
        ids = np.array([category.id for category in recipe.classes])
        keep &= np.isin(ids[classes], list(options.class_ids))
    found = Labelled(labels, scores.astype(np.float64), classes)
    return chosen(found, np.flatnonzero(keep))


def _decode(
    prediction: Prediction, recipe: Recipe, c: int, mask: Mask, options: ExtractOptions
) -> Decoded:
    """Find the instances of one class with the decoder of the method."""
    settings = _settings(recipe, options)

    def tensor(name: str) -> Floats:
        return _at_image_size(prediction.extras[name], name, recipe.stride, mask.shape)

    vectors = dequantise(prediction.embedding, recipe.embedding_scale, recipe.embedding_slope)
    embedding = _at_image_size(vectors, signature.EMBEDDING, recipe.stride, mask.shape)
    match recipe.method:
        case "discriminative":
            return decode_discriminative(embedding, mask, **settings)
        case "associative":
            return decode_associative(embedding, mask, **settings)
        case "metric_learning":
            seediness = tensor(signature.SEEDINESS)
            return decode_metric_learning(embedding, mask, seediness, **settings)
        case "recurrent":
            return decode_recurrent(embedding, mask, **settings)
        case "spatial":
            sigma, seediness = tensor(signature.SIGMA), tensor(signature.SEEDINESS)
            return decode_spatial(embedding, mask, sigma, seediness[c], **settings)


def _settings(recipe: Recipe, options: ExtractOptions) -> dict[str, Any]:
    """Return the decoder's keyword arguments: the recipe's, and the caller's over them.

    A caller's bandwidth means something only to the methods that cluster by distance.
    """
    ranges = DECODER_SETTINGS[recipe.method]
    settings: dict[str, Any] = {  # a recipe holds whole numbers as JSON numbers
        name: int(value) if ranges[name].whole else value for name, value in recipe.decoder.items()
    }
    if options.bandwidth is not None and "bandwidth" in ranges:
        settings["bandwidth"] = options.bandwidth
    settings["min_pixels"] = _least(recipe, options)
    return settings


def _least(recipe: Recipe, options: ExtractOptions) -> int:
    """Return the fewest pixels of what is decoded.

    A caller may lower the recipe's; what is asked beyond it is left out when all is found, or
    those that stay would change: their clusters are joined, and given strays, by size.
    """
    own = int(recipe.decoder.get("min_pixels", 1))
    return own if options.min_area is None else min(own, options.min_area)


def _at_image_size(tensor: Floats, name: str, stride: int, size: tuple[int, ...]) -> Floats:
    """Return a tensor cropped to the image, repeated where it comes at a stride.

    Repeated, not interpolated: between two instances an interpolated vector belongs to neither.
    Measured on 24 drawn scenes with the shipped sticks, stride 2: mean AP 0.944 against 0.939.
    """
    height, width = size
    if stride > 1:
        tensor = tensor.repeat(stride, axis=1).repeat(stride, axis=2)
    if tensor.shape[1] < height or tensor.shape[2] < width:
        raise BackendFailed(
            f"the network's {name} {tensor.shape} does not cover {height} x {width} pixels"
        )
    return tensor[:, :height, :width]
