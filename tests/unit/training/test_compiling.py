"""Training with a compiled network: the same numbers, or none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.unit.training.conftest import Recorder
from training.config.experiment import Config
from training.data.synthetic import NucleiDataset
from training.loop import engine
from training.loop.compiling import CompileError, compile_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler"),
    # PyTorch's compiler imports what PyTorch calls deprecated.
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
]


def test_a_compiled_network_learns_the_same_under_the_same_names(
    tiny: Config, train_set: NucleiDataset, val_set: NucleiDataset, tmp_path: Path
) -> None:
    # In bfloat16, where PyTorch 2.13 lost the gradient before every enlargement.
    tiny = replace(
        tiny, model=replace(tiny.model, style=True), optim=replace(tiny.optim, bfloat16=True)
    )
    plain, compiled = Recorder(), Recorder()
    expected = engine.train(tiny, train_set, val_set, tmp_path / "plain", plain)
    config = replace(tiny, optim=replace(tiny.optim, compile=True))
    state = engine.train(config, train_set, val_set, tmp_path / "compiled", compiled)
    assert compiled.totals == pytest.approx(plain.totals, rel=2e-2)
    assert state.model.keys() == expected.model.keys()


class Detached(nn.Module):
    """Loses the gradient of its first layer when compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 1, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.first(image)
        if torch.compiler.is_dynamo_compiling():
            x = x.detach()
        return {"foreground": self.second(x)}


def test_a_network_that_is_compiled_wrongly_is_refused() -> None:
    torch.manual_seed(0)
    with pytest.raises(CompileError, match=r"are off by \d+%, those of the plain one by 0%"):
        compile_network(Detached(), torch.rand(1, 3, 8, 8), bfloat16=False)
