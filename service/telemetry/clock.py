"""One record of where a request's time went; histograms, headers, answers and spans all read it."""

from __future__ import annotations

import time
from typing import NamedTuple

from service.domain import STAGES, Stage, Timings


class Interval(NamedTuple):
    """An uninterrupted stay in one stage, on the clock of `time.perf_counter`."""

    stage: Stage
    began_s: float
    ended_s: float


class StageClock:
    """A stopwatch that is always in exactly one stage, so that stages add up to the total.

    Turned by whoever works for the request, the event loop or a thread: one at a time.
    """

    def __init__(self, stage: Stage) -> None:
        self.intervals: list[Interval] = []
        self._began = self._entered = time.perf_counter()
        self.stage: Stage = stage

    def enter(self, stage: Stage) -> None:
        """Leave the current stage and begin `stage`; a stage may be entered again."""
        now = time.perf_counter()
        self.intervals.append(Interval(self.stage, self._entered, now))
        self._entered, self.stage = now, stage

    def read(self) -> Timings:
        """Return what was spent up to now."""
        self.enter(self.stage)
        return self.timings

    @property
    def timings(self) -> Timings:
        """What was spent up to when a stage was last left."""
        spent = dict.fromkeys(STAGES, 0.0)
        for stage, began_s, ended_s in self.intervals:
            spent[stage] += ended_s - began_s
        return Timings(spent, self._entered - self._began)
