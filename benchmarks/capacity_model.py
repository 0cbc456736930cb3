"""A small queueing model: how long requests wait, and how many servers a rate and a p99 need.

Requests arrive at random (Poisson) and pass stations one after the other: the gateways' CPU, then
the network's. A station is M/G/c: Erlang's formula gives how likely an arrival waits; the Allen and
Cunneen factor (1 + cv^2) / 2 corrects the length for service times that are steadier or wilder than
exponential; waits are exponential beyond that. Stations are taken as independent.

References
----------
Allen, "Probability, Statistics, and Queueing Theory", 2nd ed., 1990, section 5.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

DRAWS = 100_000
BUSIEST = 0.8
"""No station is planned to be busier: beyond, a rate that is a little higher doubles the waits."""


@dataclass(frozen=True, slots=True)
class Station:
    """Servers that work on one request each, from one queue.

    Parameters
    ----------
    servers : int
        How many.
    service_s : float
        Mean time one takes, in seconds.
    cv2 : float
        Squared coefficient of variation of that time: 0 always the same, 1 exponential.
    """

    servers: int
    service_s: float
    cv2: float = 1.0

    def load(self, rate: float) -> float:
        """Return the part of the time that a server is busy; from 1 on the queue never ends."""
        return rate * self.service_s / self.servers

    def waits(self, rate: float) -> float:
        """Return how likely an arrival has to wait (Erlang C)."""
        offered = rate * self.service_s
        if offered >= self.servers:
            return 1.0
        blocked = 1.0
        for number in range(1, self.servers + 1):
            blocked = offered * blocked / (number + offered * blocked)
        return blocked / (1 - self.load(rate) * (1 - blocked))

    def mean_wait_s(self, rate: float) -> float:
        """Return the mean wait of all arrivals, infinite when there are too many of them."""
        load = self.load(rate)
        if load >= 1:
            return math.inf
        steadiness = (1 + self.cv2) / 2
        return self.waits(rate) * self.service_s / (self.servers * (1 - load)) * steadiness

    def draw_s(self, rate: float, random: np.random.Generator) -> npt.NDArray[np.float64]:
        """Return times from arrival to departure, `DRAWS` of them."""
        waits = self.waits(rate)
        waited = random.random(DRAWS) < waits
        length = random.exponential(self.mean_wait_s(rate) / waits if waits else 0.0, DRAWS)
        if not self.cv2:
            return waited * length + self.service_s
        # A gamma distribution has any mean and variation.
        shape = 1 / self.cv2
        return waited * length + random.gamma(shape, self.service_s / shape, DRAWS)


def percentile_s(stations: Sequence[Station], rate: float, percent: float) -> float:
    """Return a percentile of the time through all stations, infinite when one cannot keep up."""
    if any(station.load(rate) >= 1 for station in stations):
        return math.inf
    random = np.random.default_rng(0)
    return float(np.percentile(sum(entry.draw_s(rate, random) for entry in stations), percent))


def plan(stations: Sequence[Station], rate: float, p99_s: float) -> list[Station] | None:
    """Return the stations with as few servers as keep the p99, None when no number does.

    Adds a server where it shortens the p99 most, once none is busier than `BUSIEST`.
    """
    enough = [
        replace(station, servers=max(1, math.ceil(rate * station.service_s / BUSIEST)))
        for station in stations
    ]
    if percentile_s([replace(entry, servers=10**4) for entry in enough], rate, 99) > p99_s:
        return None  # service alone takes longer
    while percentile_s(enough, rate, 99) > p99_s:
        more = [
            [replace(other, servers=other.servers + (other is entry)) for other in enough]
            for entry in enough
        ]
        enough = min(more, key=lambda stations: percentile_s(stations, rate, 99))
    return enough
