"""Settings of the training loop."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.config.checks import STRICT, Count, NotNegative, Positive, Whole


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OptimConfig:
    """How it is minimised.

    Parameters
    ----------
    batch : int
        Crops per step.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup_steps : int
        Steps of linear rise of the learning rate.
    steps : int
        Length of the run; the learning rate falls as a cosine over it.
    max_minutes : float
        When above 0, the run also ends after this time, and the cosine follows the clock where
        that is further on. Runs bounded by steps alone repeat exactly.
    clip : float
        Largest norm of the gradient.
    ema : float
        Decay of the running average of the weights, which is what is evaluated and exported.
    bfloat16 : bool
        Compute the network in bfloat16, on a GPU or a CPU (losses stay float32). It reaches as far
        as float32, so that gradients need no scaling.
    compile : bool
        Compile the network with ``torch.compile`` before the first step, and hold its gradients to
        those of the plain one: minutes once, which a run of hours wins back. Needs a C++ compiler
        on a CPU.
    validate_every_s, validate_every_steps : float, int
        Whichever of the two is above 0 and has passed.
    save_every_s : float
        Time between snapshots to resume from.
    accumulate : int
        Batches whose gradients are added up to one step.
    workers : int
        Processes that cut crops ahead of time, so that a GPU does not wait for them; 0: none.
    deterministic : bool
        Compute with algorithms that repeat to the last bit, also on a GPU, where some are slower.
    patience : int
        When above 0, stop after so many validations without a better result.
    """

    batch: Count = 8
    learning_rate: NotNegative = 2e-3
    weight_decay: NotNegative = 1e-2
    warmup_steps: Whole = 100
    steps: Count = 20_000
    max_minutes: NotNegative = 0.0
    clip: Positive = 5.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.998
    bfloat16: bool = False
    compile: bool = False
    validate_every_s: NotNegative = 300.0
    validate_every_steps: Whole = 0
    save_every_s: NotNegative = 120.0
    accumulate: Count = 1
    workers: Whole = 0
    deterministic: bool = False
    patience: Whole = 0
