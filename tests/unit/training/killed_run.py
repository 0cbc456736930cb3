"""A run that kills its own process after the fifth step: started by a test of the engine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from tests.unit.training.conftest import TINY, Recorder, drawn
from training.loop import engine
from training.loop.checkpoint import Checkpoint


class Dying(Recorder):
    """Ends without a word, as the kernel ends a process that takes too much memory."""

    def on_step(self, state: Checkpoint, fraction: float, terms: object) -> None:
        super().on_step(state, fraction, terms)
        if state.step == 5:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    engine.train(TINY, drawn(8, seed=0), drawn(2, seed=1), Path(sys.argv[1]), Dying())
