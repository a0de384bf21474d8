"""An accelerated iteration: a sweep from an extrapolated point, which a guard accepts or undoes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem
from fastbcd.solvers.evaluation import Couplings
from fastbcd.solvers.momentum import Momentum
from fastbcd.solvers.starting_point import Extrapolation, Iterate
from fastbcd.solvers.state import State
from fastbcd.support.parameters import choice
from fastbcd.training.certificate import ROUNDING
from fastbcd.training.descent_log import DescentLog

ACCELERATIONS = ("nesterov",)
# After a restart the state is P^k up to bfloat16 roundings of the last step. If F has not made up
# for these after one plain sweep, at most so many more follow.
MOST_MORE_SWEEPS = 3

Sweep = Callable[[Iterate, DescentLog], None]
"""``sweep(point, log)`` updates all blocks once, from this starting point."""


def checked_acceleration(acceleration: str | None) -> str | None:
    """Return `acceleration`, None or a name; `InputError` if it is neither."""
    if acceleration is None:
        return None
    return choice(acceleration, ACCELERATIONS, "acceleration")


def accelerated_iteration(
    problem: Problem,
    device: Device,
    state: State,
    sweep: Sweep,
    couplings: Couplings,
    sufficient: float,
) -> None:
    """Do one iteration of `state`, in place, by Nesterov's extrapolation with a guard.

    .. code-block:: text

        Q = P^k + beta_k (P^k - P^{k-1}),     P^{k+1} = a sweep from Q
        accepted if  F(P^k) - F(P^{k+1}) >= a |P^{k+1} - P^k|^2
        otherwise    P^{k+1} = a sweep from P^k, and t = 1

    with beta_k from `Momentum.advance` and a = `sufficient`, the constant of a plain sweep.

    Notes
    -----
    F(Q) is summed up during the sweep, and the blocks report their exact decreases, so F(P^{k+1})
    needs no pass of its own. The steps in the descent log are those from P^k, and its entry
    ``("Q", 0)`` has ``F(P^k) - F(Q)``. See docs/mathematics.md.
    """
    if state.momentum is None:
        state.momentum = Momentum.none_yet(device, state)
    momentum = state.momentum
    if momentum.problem is not None and momentum.problem is not problem:
        momentum.start_anew(problem)
    momentum.problem = problem
    log = DescentLog() if state.descent_log is None else state.descent_log
    known, last_step = momentum.objective, momentum.step

    def swept(beta: float, restore: bool = False) -> tuple[float, float]:
        """Sweep from Q; return F and the distance that all blocks have gone."""
        log.clear()
        point = Extrapolation(problem, device, state, momentum, couplings, beta, restore)
        sweep(point, log)
        return point.objective - log.decrease, math.sqrt(log.squared_step)

    beta = momentum.advance()
    F, moved = swept(beta)
    if known is None:
        known = F + log.decrease  # beta is 0 in the first iteration
    elif not known - F >= sufficient * moved**2:
        momentum.t, beta = 1.0, 0.0
        momentum.advance()
        momentum.restarts += 1
        F, moved = swept(0.0, restore=True)
        rounding = ROUNDING[str(state.dtype)] * abs(known)
        for _ in range(MOST_MORE_SWEEPS):
            if known - F >= sufficient * moved**2 - rounding:
                break
            F, more = swept(0.0)
            moved += more
    log.add("Q", 0, np.array([known - F - log.decrease, moved**2 - log.squared_step]))
    log.squared_extrapolation = (beta * last_step) ** 2
    momentum.objective, momentum.step = F, moved
