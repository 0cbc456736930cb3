"""Where a run stands: how much of it is done, the learning rate, what is due."""

from __future__ import annotations

import math

from training.loop.checkpoint import Checkpoint


def fraction(state: Checkpoint) -> float:
    """Tell how much of the run is done, by steps or by the clock, whichever is further on."""
    optim = state.config.optim
    done = state.step / optim.steps
    if optim.max_minutes > 0:
        done = max(done, state.elapsed_s / (60 * optim.max_minutes))
    return done


def finished(state: Checkpoint) -> bool:
    """Tell whether the run has reached its end, or has stopped getting better."""
    return fraction(state) >= 1 or 0 < state.config.optim.patience <= state.since_best


def is_calm(state: Checkpoint) -> bool:
    """Tell whether crops are no longer warped (`AugmentConfig.calm_after`)."""
    return fraction(state) >= state.config.augment.calm_after


def learning_rate(state: Checkpoint) -> float:
    """Give the rate of the next step: a linear rise, then a cosine down to zero."""
    optim = state.config.optim
    warm = min(1.0, (state.step + 1) / max(optim.warmup_steps, 1))
    return optim.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * fraction(state)))


def ema_decay(state: Checkpoint) -> float:
    """Give the decay of the running average: short at first, so that it forgets the beginning."""
    return min(state.config.optim.ema, (1 + state.step) / (10 + state.step))


def validation_due(state: Checkpoint, began_s: float) -> bool:
    """Tell whether the step that began at `began_s` ends with a validation.

    Notes
    -----
    Counted from the beginning of the run, not from the last validation, so that a run that was
    killed validates at the same steps as one that was not.
    """
    optim = state.config.optim
    at_step = optim.validate_every_steps > 0 and state.step % optim.validate_every_steps == 0
    return at_step or _passed(began_s, state.elapsed_s, optim.validate_every_s)


def snapshot_due(state: Checkpoint, began_s: float) -> bool:
    """Tell whether the step that began at `began_s` ends with a snapshot."""
    return _passed(began_s, state.elapsed_s, state.config.optim.save_every_s)


def _passed(began_s: float, now_s: float, every_s: float) -> bool:
    return every_s > 0 and began_s // every_s < now_s // every_s
