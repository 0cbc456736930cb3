"""Networks side by side: how quick they are as they are served, and how large."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final, get_args

import numpy as np

from service import signature
from training.config.experiment import Config
from training.config.model import ModelConfig, NetworkName
from training.deployment import export
from training.models.build import build_model
from training.models.serving import served

NETWORKS: Final = get_args(NetworkName)
BASELINE: Final = "unet"


@dataclass(frozen=True, slots=True)
class Measured:
    """One network.

    Parameters
    ----------
    network : str
        Its name in the configuration.
    parameters : int
        Numbers that are learnt.
    file_bytes : int
        Size of the network as it is served, in half precision.
    ms : float
        Median time of one image.
    ratio : float
        Median of that time over the U-Net's in the same round.
    """

    network: str
    parameters: int
    file_bytes: int
    ms: float
    ratio: float


def of_network(config: Config, network: NetworkName) -> Config:
    """Give the same experiment with another network, in its own widths, and a name of its own."""
    model = replace(
        ModelConfig(network=network),
        embedding_size=config.model.embedding_size,
        coordinates=config.model.coordinates,
        position_px=config.model.position_px,
    )
    return replace(config, name=f"{config.name}-{network}", model=model)


def compare(config: Config, *, side: int, rounds: int, threads: int) -> list[Measured]:
    """Time the networks in turn, as they are served, and count what they hold.

    Parameters
    ----------
    config : Config
        Method and embedding.
    side : int
        Height and width of the image in pixels.
    rounds : int
        How often every network has its turn, after one that does not count.
    threads : int
        Of ONNX Runtime.

    Notes
    -----
    The weights are fresh: they change no time. A round runs all networks, so that a machine that is
    busy for a while is busy for all of them.
    """
    models = {name: build_model(of_network(config, name)) for name in NETWORKS}
    files = {
        name: export.to_onnx(served(model, config.loss.method), multiple=model.config.size_multiple)
        for name, model in models.items()
    }
    sessions = {name: export.open_session(data, threads=threads) for name, data in files.items()}
    image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3)).astype(np.uint8)
    spent: dict[str, list[float]] = {name: [] for name in NETWORKS}
    for number in range(rounds + 1):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(None, {signature.IMAGE: image})
            if number > 0:
                spent[name].append(1000 * (time.perf_counter() - started))
    return [
        Measured(
            network=name,
            parameters=sum(weight.numel() for weight in model.parameters()),
            file_bytes=len(files[name]),
            ms=median(spent[name]),
            ratio=median(
                own / base for own, base in zip(spent[name], spent[BASELINE], strict=True)
            ),
        )
        for name, model in models.items()
    ]


def facts(config: Config, measured: Sequence[Measured], *, side: int, threads: int) -> Any:
    """Give what was measured as plain values, to be recorded."""
    networks = [asdict(one) for one in measured]
    return {"experiment": config.name, "side": side, "threads": threads, "networks": networks}
