"""One of the processes that torchrun starts: trains, and saves what it saw. Started by a test."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.unit.training.conftest import TINY, Recorder, drawn
from training.loop import engine
from training.loop.ranks import joined, local_processes


def threads() -> list[str]:
    """Name the threads of this process, as Linux does."""
    return [name.read_text().strip() for name in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    torch.set_num_threads(1)
    out, recorder = Path(sys.argv[1]), Recorder()
    with joined() as ranks:
        state = engine.train(
            TINY, drawn(8, seed=0), drawn(2, seed=1), out / "run", recorder, ranks=ranks
        )
        spread = ranks.mean(torch.tensor(torch.nan if ranks.rank == 1 else 1.0))
        during = threads()
    saw = {
        "masks": recorder.masks,
        "weights": state.model,
        "totals": recorder.totals,
        "validations": len(recorder.scores),
        "local": local_processes(),
        "threads": {"during": during, "after": threads()},
    }
    torch.save(
        {**saw, "spread": spread, "best": state.best, "step": state.step}, out / f"{ranks.rank}.pt"
    )
