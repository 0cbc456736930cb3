"""One record of where a request's time went; histograms, headers and answers all read it."""

from __future__ import annotations

import time

from service.domain import STAGES, Stage, Timings


class StageClock:
    """A stopwatch that is always in exactly one stage, so that stages add up to the total."""

    def __init__(self, stage: Stage) -> None:
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._began = self._entered = time.perf_counter()
        self.stage: Stage = stage

    def enter(self, stage: Stage) -> None:
        """Leave the current stage and begin `stage`; a stage may be entered again."""
        now = time.perf_counter()
        self._spent[self.stage] += now - self._entered
        self._entered, self.stage = now, stage

    def read(self) -> Timings:
        """Return what was spent up to now."""
        self.enter(self.stage)
        return Timings(dict(self._spent), self._entered - self._began)
