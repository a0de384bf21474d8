"""Trials: short runs on a part of a small table, which choose how long and how boldly to learn.

    batch size   m = n / 40, between 96 and 500
    held out     one sample in 4 of up to 1,250, one in 10 of 2,500 or more
    trials       of damping 5, and then of 15 if the held-out loss rose, else of 1, and then of 0.2
                 if 1 was clearly better and still fell; at most 200 batches of constant step size
    passes       2 t, where the loss was least after t passes; those of 600 batches if it still fell

A noisy table is learned by heart within a few passes, and a clean one goes on gaining from bold
steps until the end; nothing but samples that are not trained on can tell. The held-out samples come
back for the run itself, which has the damping of the better trial. The step size of the run falls
to 0, so that 2 t passes move weights about as far as t passes of a trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.callbacks.held_out import mean_loss
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.settings import BATCHES_A_PASS, USUAL_BATCH
from fastbcd.training.loop import network_of

Array = NDArray[Any]

# Parameters that trials choose, or that would contradict them; with one of them there are none.
CHOSEN = ("max_iter", "damping", "batch_size", "schedule")
# Fewer samples hold out too few to tell anything. With more, batches have the size at which the
# usual damping was chosen, and little is learned by heart in the usual passes.
FEWEST, MOST = 100, BATCHES_A_PASS * USUAL_BATCH
SMALLEST_BATCH, BATCHES, OF_TRIAL = 96, 600, 200
USUAL, CAUTIOUS, BOLD, BOLDEST = 5.0, 15.0, 1.0, 0.2
# Bold steps must have less than this share of the usual loss, because few samples tell little.
CLEARLY = 0.97
# A trial ends after this multiple of its best pass, and after three passes at least.
PATIENCE, LEAST = 2, 3
# A run has this multiple of the passes that were best at a constant step size.
LONGER = 2
# The loss counts as still falling if its least value is in the last passes, after this share.
FALLING = 0.8


@dataclass(frozen=True)
class Trial:
    """Result of a trial of some `damping`: its least `loss`, after so many `passes` of `most`."""

    damping: float
    loss: float
    passes: int
    most: int

    @property
    def is_falling(self) -> bool:
        """Whether more passes would have been better."""
        return self.passes >= FALLING * self.most


def have_trials(n: int) -> bool:
    """Whether n samples are few enough for trials, and not too few."""
    return FEWEST <= n < MOST


def share_held_out(n: int) -> float:
    """Return the share of n samples that trials hold out."""
    return 1.0 / _step(n)


def chosen_by_trials(
    solver_for: Callable[[dict[str, Any]], Any],
    X: Array,
    Y: Array,
    weight: Array | None,
    order: Array,
    seed: int,
) -> dict[str, Any]:
    """Return ``damping``, ``batch_size`` and ``max_iter`` for these samples.

    Parameters
    ----------
    solver_for : callable
        Makes the `MiniBatchThreeSplitting` of a dict of parameters.
    X, Y : (n, d), (n, k) array
        Inputs and targets of the network.
    weight : (n,) array or None
    order : (n,) array
        Numbers by which neighbours are alike: classes, or a target. Samples are held out in equal
        steps of this order, so that both parts have the same share of each class.
    seed : int
    """
    size = min(max(len(X) // BATCHES_A_PASS, SMALLEST_BATCH), USUAL_BATCH)
    held = held_out(order, seed)
    if weight is not None and not (weight[held].any() and weight[~held].any()):
        return {}
    parts = [(X[rows], Y[rows], None if weight is None else weight[rows]) for rows in (~held, held)]

    def trial(damping: float) -> Trial:
        given = {"damping": damping, "batch_size": size, "schedule": "constant"}
        return run_trial(solver_for(given), damping, parts[0], parts[1], seed)

    first = trial(USUAL)
    second = trial(BOLD if first.is_falling else CAUTIOUS)
    margin = CLEARLY if first.is_falling else 1.0
    best = second if second.loss < margin * first.loss else first
    if best.damping == BOLD and best.is_falling:
        third = trial(BOLDEST)
        best = third if third.loss < CLEARLY * best.loss else best
    longest = passes_of(BATCHES, len(X), size)
    passes = longest if best.is_falling else min(longest, LONGER * best.passes)
    return {"damping": best.damping, "batch_size": size, "max_iter": passes}


def held_out(order: Array, seed: int) -> NDArray[np.bool_]:
    """Mark every k-th sample in the given order, in which equal numbers are shuffled."""
    n, step = len(order), _step(len(order))
    rng = np.random.default_rng([seed, n])
    rows = np.lexsort((rng.permutation(n), order))
    held = np.zeros(n, bool)
    held[rows[rng.integers(step) :: step]] = True
    return held


def _step(n: int) -> int:
    """Return k, of which every k-th of n samples is held out."""
    return min(max(n // 250, 4), 10)


def passes_of(batches: int, n: int, size: int) -> int:
    """Return the number of passes over n samples that has about so many `batches`; at least 2."""
    return max(2, round(batches / -(-n // size)))


def run_trial(
    solver: MiniBatchThreeSplitting, damping: float, train: tuple, held: tuple, seed: int
) -> Trial:
    """Train on (X, Y, weight) until the mean loss of `held` has risen for long enough.

    Weights that are no longer finite count as an infinite loss.
    """
    (X, Y, weight), (X_held, Y_held, weight_held) = train, held
    most = passes_of(OF_TRIAL, len(X), solver.settings(len(X)).batch_size)
    state = solver.init(X, Y, seed=seed, passes=most, sample_weight=weight)
    best, passes = math.inf, 1
    for done in range(1, most + 1):
        try:
            solver.step(state)
        except FloatingPointError:
            break
        outputs = network_of(solver, state).forward(X_held, solver.device.n_threads)
        loss = mean_loss(solver.problem.loss, outputs, Y_held, weight_held)
        if loss < best:
            best, passes = loss, done
        if done >= max(LEAST, PATIENCE * passes):
            break
    return Trial(damping, best, passes, most)
