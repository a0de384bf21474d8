"""Differences from batch to batch: the numbers of a step, and work that only some batches do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastbcd.solvers.mini_batch.batches import Samples, n_batches
from fastbcd.solvers.mini_batch.state import MiniBatchState

# The metric counts every 5th batch and is renewed at every 10th, because it changes slowly.
COUNT_EVERY, RENEW_EVERY = 5, 10
# Weights enter their mean every 4th batch if a pass has many, because neighbours hardly differ.
MEAN_EVERY = 4


@dataclass(frozen=True)
class StepScalars:
    """Floats, or elements on a GPU.

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


@dataclass(frozen=True)
class Duties:
    """The work of one batch besides its sweep.

    The metrics count it (`counts`) and are renewed (`renews`), and the weights enter their mean
    (`averages`).
    """

    counts: bool
    renews: bool
    averages: bool


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
        mean_share=1.0 - (1.0 - share) ** _mean_every(state),
        weight_unit=samples.weight_unit,
        weight=samples.weight_unit * (1.0 - state.settings.momentum) / samples.of_all_ranks,
    )


def duties_of(solver: Any, state: MiniBatchState) -> Duties:
    """Return the duties of the next batch."""
    t = state.batches
    # Early metrics are rough, so they are renewed also after 1, 2, 4, 8, ... batches.
    renews = t % RENEW_EVERY == 0 or t & (t - 1) == 0
    averages = solver.average > 0.0 and t % _mean_every(state) == 0
    return Duties(renews or t % COUNT_EVERY == 0, renews, averages)


def _mean_every(state: MiniBatchState) -> int:
    """Return the number of batches from one that enters the mean weights to the next."""
    return min(MEAN_EVERY, max(1, n_batches(state.n_total, state.settings.batch_size) // 8))
