"""The momentum of an accelerated run: the last difference of iterates, and F for the guard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.problem import Problem
from fastbcd.support.stored import check_state_dict

# Numbers in a file, under the names of their attributes.
STORED = ("k", "objective", "step", "restarts")


@dataclass
class Momentum:
    """The memory of an accelerated run: its last iteration, beside the state P^k.

    Attributes
    ----------
    V, U : list
        ``V_l^k - V_l^{k-1}`` and ``U_l^k - U_l^{k-1}``, (n, d_l) uint16 arrays with the bits of
        bfloat16 numbers, for l = 1..L; None for l = 0, and for all U of Algorithm 1.
    W : list
        W_l^{k-1}; None for l = 0.
    W_start : list
        W_l of the point from which the last sweep started; None for l = 0.
    k : int
        Number of iterations since the first one, or since the last restart.
    objective : float or None
        F(P^k); None before the first iteration.
    step : float
        ``|P^k - P^{k-1}|`` in the norm of `DescentLog`.
    restarts : int
        Number of sweeps that the guard has rejected.
    problem : Problem or None
        The problem of the solver that made it. Under another problem F is another function, so
        the momentum starts anew.
    """

    V: list[Any]
    U: list[Any]
    W: list[Any]
    W_start: list[Any]
    k: int = 0
    objective: float | None = None
    step: float = 0.0
    restarts: int = 0
    problem: Problem | None = None

    @classmethod
    def none_yet(cls, device: Device, state: Any) -> Momentum:
        """Return the momentum of `state` before its first accelerated iteration."""
        blocks = [A for A in (*state.V[1:], *state.U[1:]) if A is not None]
        allocated = iter(device.storage.allocate([A.shape for A in blocks], np.uint16))

        def zeros(arrays: list[Any]) -> list[Any]:
            return [None, *(None if A is None else next(allocated) for A in arrays[1:])]

        W, W_start = ([None, *map(device.copy, state.W[1:])] for _ in range(2))
        momentum = cls(zeros(state.V), zeros(state.U), W, W_start)
        for array in (A for A in (*momentum.V, *momentum.U) if A is not None):
            for rows in device.blocks(array):
                array[rows] = 0
                device.storage.done_with(array, rows)
        return momentum

    def start_anew(self, problem: Problem) -> None:
        """Forget F and the speed, for another problem; the arrays are kept."""
        self.problem, self.objective, self.k, self.step = problem, None, 0, 0.0

    def advance(self) -> float:
        """Count an iteration, and return its ``beta_k = (k - 1) / (k + 2)`` (Nesterov 1983)."""
        self.k += 1
        return (self.k - 1) / (self.k + 2)

    def state_dict(self) -> dict[str, Any]:
        """Return the entries of a checkpoint; arrays are not copied."""
        return {
            "V_difference": [None, *self.V[1:]],
            "U_difference": [None, *self.U[1:]],
            "W_before": [None, *self.W[1:]],
            "W_start": [None, *self.W_start[1:]],
            "momentum": {name: getattr(self, name) for name in STORED},
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take over `stored`, a result of `state_dict`; `InputError` names keys that are wrong."""
        check_state_dict(stored["momentum"], self.state_dict()["momentum"], "Momentum")
        self.V[1:], self.U[1:] = stored["V_difference"][1:], stored["U_difference"][1:]
        self.W[1:], self.W_start[1:] = stored["W_before"][1:], stored["W_start"][1:]
        for name, value in stored["momentum"].items():
            setattr(self, name, value)
