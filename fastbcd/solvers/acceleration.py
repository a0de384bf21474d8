"""An accelerated iteration: a sweep from an extrapolated point, which a guard accepts or undoes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem
from fastbcd.solvers.evaluation import Couplings, objective_and_violation
from fastbcd.solvers.momentum import Momentum
from fastbcd.solvers.starting_point import Extrapolation, Iterate
from fastbcd.solvers.state import State
from fastbcd.support.parameters import choice
from fastbcd.training.certificate import ROUNDING, THETA
from fastbcd.training.descent_log import DescentLog

ACCELERATIONS = ("nesterov",)
# After a restart the state is P^k up to bfloat16 roundings of the last step. If F has not made up
# for these after one plain sweep, at most so many more follow.
MOST_MORE_SWEEPS = 3
# F after a sweep is F before it minus the decreases of the blocks. Where less than this share of F
# is left, as from a start at which an exponential loss explodes, the difference is mostly rounding,
# and F is evaluated.
EVALUATED_BELOW = 1e-3

Sweep = Callable[[Iterate, DescentLog], None]
"""``sweep(point, log)`` updates all blocks once, from this starting point."""


class Swept(NamedTuple):
    """A sweep: F where it started and where it ended, and the distance that all blocks have gone.

    The distance is that from P^k, unless the sweep is one more after a restart.
    """

    start: float
    objective: float
    step: float
    more: float
    """By how far the starting point was beyond ``P^k + beta (P^k - P^{k-1})``."""


def checked_acceleration(acceleration: str | None) -> str | None:
    """Return `acceleration`, None or a name; `InputError` if it is neither."""
    if acceleration is None:
        return None
    return choice(acceleration, ACCELERATIONS, "acceleration")


def is_accepted(decrease: float, sufficient: float, step: float) -> bool:
    """Return whether ``F(P^k) - F(P^{k+1}) >= a |P^{k+1} - P^k|^2``; not if one of them is NaN."""
    return decrease >= sufficient * step**2


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

        Q = P^k + beta_k (P^k - P^{k-1}) + 0.9 (W^k - W of Q^{k-1}),   P^{k+1} = a sweep from Q
        accepted if  F(P^k) - F(P^{k+1}) >= a |P^{k+1} - P^k|^2
        otherwise    P^{k+1} = a sweep from P^k, and k = 1

    with beta_k from `Momentum.advance` and a = `sufficient`, the constant of a plain sweep.

    Notes
    -----
    F(Q) is summed up during the sweep, and the blocks report their exact decreases, so F(P^{k+1})
    needs no pass of its own (but see `EVALUATED_BELOW`). The steps in the descent log are those
    from P^k, and its entry ``("Q", 0)`` has ``F(P^k) - F(Q)``. The host waits for the device once
    in each sweep. See docs/mathematics.md.
    """
    momentum = _momentum(problem, device, state)
    log = DescentLog() if state.descent_log is None else state.descent_log
    known, last_step = momentum.objective, momentum.step

    def swept(beta: float, restore: bool = False) -> Swept:
        log.clear()
        point = Extrapolation(problem, device, state, momentum, couplings, beta, restore)
        sweep(point, log)
        end = _measured(device, point, log)
        if end.objective >= EVALUATED_BELOW * end.start:
            return end
        objective, _ = objective_and_violation(problem, device, state, couplings)
        return end._replace(objective=_of_all_ranks(device, [objective])[0])

    beta = momentum.advance()
    last = swept(beta)
    F, moved = last.objective, last.step
    if known is None:
        known = last.start  # beta is 0 in the first iteration
    elif not is_accepted(known - F, sufficient, moved):
        momentum.k, beta = 0, 0.0
        momentum.advance()
        momentum.restarts += 1
        last = swept(0.0, restore=True)
        F, moved = last.objective, last.step
        rounding = ROUNDING[str(state.dtype)] * abs(known)
        for _ in range(MOST_MORE_SWEEPS):
            if is_accepted(known - F + rounding, sufficient, moved):
                break
            last = swept(0.0)
            F, moved = last.objective, moved + last.step
    extrapolation = [known - last.start, moved**2 - last.step**2]
    log.add("Q", 0, device.array(np.array(extrapolation), np.float64))
    log.squared_extrapolation = (beta * last_step + last.more) ** 2
    momentum.objective, momentum.step = F, moved


def _momentum(problem: Problem, device: Device, state: State) -> Momentum:
    """Return the momentum of `state`, which starts anew if it is that of another problem."""
    if state.momentum is None:
        state.momentum = Momentum.none_yet(device, state)
    momentum = state.momentum
    if momentum.problem is not None and momentum.problem != problem:
        momentum.start_anew(problem)
    momentum.problem = problem
    return momentum


def _measured(device: Device, point: Extrapolation, log: DescentLog) -> Swept:
    """Return the numbers of a sweep, by one wait for the device; they are the same on all ranks."""
    numbers = device.zeros((4,), np.float64)
    numbers[0], numbers[1] = point.objective, point.squared_more
    numbers[2:] = sum(log.blocks.values())
    start, squared_more, decrease, squared_step = _of_all_ranks(device, numbers)
    more = THETA * math.sqrt(squared_more)
    return Swept(start, start - decrease, math.sqrt(squared_step), more)


def _of_all_ranks(device: Device, numbers: Any) -> list[float]:
    """Return float64 `numbers` of the first rank.

    All ranks must come to the same decision, whatever the last bit of each one's sums.
    """
    shared = device.array(numbers, np.float64)
    device.same_on_all_ranks(shared)
    of_first: list[float] = device.numpy(shared).tolist()
    return of_first
