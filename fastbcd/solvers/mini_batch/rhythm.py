"""What only some batches do, because it changes slowly: metrics and mean weights."""

from __future__ import annotations

from dataclasses import dataclass

from fastbcd.solvers.mini_batch.batches import n_batches
from fastbcd.solvers.mini_batch.state import MiniBatchState

# The metric counts every 5th batch and is renewed at every 10th.
COUNT_EVERY, RENEW_EVERY = 5, 10
# Weights enter their mean every 4th batch if a pass has many, because neighbours hardly differ.
MEAN_EVERY = 4


@dataclass(frozen=True)
class Duties:
    """What one batch does besides its sweep.

    The metrics count it (`counts`) and are renewed (`renews`), and the weights enter their mean
    (`averages`).
    """

    counts: bool
    renews: bool
    averages: bool


def duties_of(state: MiniBatchState, average: float) -> Duties:
    """Return the duties of the next batch; `average` is the solver's decay of mean weights."""
    t = state.batches
    # Early metrics are rough, so they are renewed also after 1, 2, 4, 8, ... batches.
    renews = t % RENEW_EVERY == 0 or t & (t - 1) == 0
    averages = average > 0.0 and t % mean_every(state) == 0
    return Duties(renews or t % COUNT_EVERY == 0, renews, averages)


def mean_every(state: MiniBatchState) -> int:
    """Return the number of batches from one that enters the mean weights to the next."""
    return min(MEAN_EVERY, max(1, n_batches(state.n_total, state.settings.batch_size) // 8))
