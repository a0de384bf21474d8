"""The numbers of a mini-batch's step: its length, and the shares of new values in means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastbcd.solvers.mini_batch.batches import Samples
from fastbcd.solvers.mini_batch.rhythm import mean_every
from fastbcd.solvers.mini_batch.state import MiniBatchState


@dataclass(frozen=True)
class StepScalars:
    """The numbers that differ from batch to batch: floats, or elements on a GPU.

    ``size`` is the length of the step and ``keep = 1 - size weight_decay`` its factor of W;
    ``mean_share`` is the share of W in its mean; ``weight_unit`` is the unit of the samples'
    weights; ``weight = weight_unit (1 - momentum) / m`` is the factor of
    ``D_l^T V^_{l-1} / rms(D_l)`` in M_l.
    """

    size: Any
    keep: Any
    mean_share: Any
    weight_unit: Any
    weight: Any


def step_scalars(
    solver: Any, state: MiniBatchState, samples: Samples, ahead: int = 0
) -> StepScalars:
    """Return the scalars of the batch that comes `ahead` batches after the next one."""
    t = state.batches + ahead
    size = state.settings.step_size * solver.schedule(t / max(state.length, 1))
    # The first weights get the share of a plain mean, until there are enough for the decay.
    share = max(1.0 - solver.average, 1.0 / (1.0 + t / 10.0))
    return StepScalars(
        size=size,
        keep=1.0 - size * solver.weight_decay,
        mean_share=1.0 - (1.0 - share) ** mean_every(state),
        weight_unit=samples.weight_unit,
        weight=samples.weight_unit * (1.0 - state.settings.momentum) / samples.of_all_ranks,
    )
