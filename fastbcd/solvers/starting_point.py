"""The point from which a sweep starts: the iterate itself, or an extrapolation of it.

A sweep visits the layers from L to 1. Its pass over layer l reads V_{l-1}, V_l and U_l of a tile,
and W_l, so they are moved to the starting point just before they are read for the first time:
extrapolation has no pass of its own, and F at the point is summed up on the way.
"""

from __future__ import annotations

from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.layers import Operator
from fastbcd.problem import Problem
from fastbcd.solvers.evaluation import Couplings, layer_terms
from fastbcd.solvers.momentum import Momentum
from fastbcd.solvers.on_tile import LayerOnTile
from fastbcd.solvers.state import State
from fastbcd.training.certificate import THETA
from fastbcd.training.descent_log import DescentLog


class Iterate:
    """The starting point of a plain sweep, ``Q = P^k``: nothing moves, and nothing is measured."""

    def begin(self, l: int) -> None:
        """Move W_l to the point, before the pass over layer l."""

    def on(self, layer: LayerOnTile, operator: Operator) -> IterateOnTile:
        """Move the states of a tile, and leave ``V^_{l-1} W_l^T`` in the work array B."""
        layer.linear(operator)
        return IterateOnTile()

    def arrays(self, l: int) -> list[Any]:
        """Return the arrays of samples that the pass over layer l uses for this."""
        return []

    def finish(self, l: int, log: DescentLog | None) -> None:
        """Take the sums over tiles, after the blocks of layer l."""


class IterateOnTile:
    """The same for the layer and the tile at hand."""

    def keep_difference(self, kind: str) -> None:
        """Note how far a block has moved, which was just updated; `kind` is "V" or "U"."""

    def finish(self) -> None:
        """Add the sums of the tile in its turn."""


class PointWork(Workspace):
    """Work arrays of a tile: V_l and U_l of the last iterate."""

    V: Buffer
    U: Buffer


class Extrapolation(Iterate):
    """The point ``Q = P^k + beta (P^k - P^{k-1})`` over all blocks, or ``Q = P^k`` after a trial.

    The weights move further, by 0.9 ``(W^k - W of Q^{k-1})``: most of the last sweep's own step is
    taken once more. The optimised gradient method (Kim and Fessler 2016) has such a term.

    Parameters
    ----------
    problem : Problem
    device : Device
    state : State
        It is P^k. If `restore` is True, it is the end of the sweep that the guard rejected.
    momentum : Momentum
        The difference ``P^k - P^{k-1}``; that of the rejected sweep if `restore` is True. The sweep
        replaces it by ``P^{k+1} - P^k``.
    couplings : callable
        The solver's squares for F; see `fastbcd.solvers.evaluation.Couplings`.
    beta : float
        >= 0.
    restore : bool, default=False
        Go back to P^k.

    Attributes
    ----------
    objective : float or array of one number
        F(Q), after the sweep; a number of the device, which the host has not waited for.
    squared_more : float or array of one number
        The squared norm of ``W^k - W of Q^{k-1}``, where it was used.

    Notes
    -----
    Penalties stay finite at Q: an element of V that would leave the domain of its penalty does not
    move, and W is projected. P^k is found again from Q and the difference, up to rounding in the
    type of V. The weights are kept exactly.
    """

    def __init__(
        self,
        problem: Problem,
        device: Device,
        state: State,
        momentum: Momentum,
        couplings: Couplings,
        beta: float,
        restore: bool = False,
    ) -> None:
        self.problem, self.device, self.state = problem, device, state
        self.momentum, self.couplings = momentum, couplings
        self.beta, self.restore = beta, restore
        self.objective: Any = 0.0
        self.squared_more: Any = 0.0
        self.unit = problem.per_sample(state.total_weight)

    def begin(self, l: int) -> None:
        """Move W_l to the point, and keep that of P^k."""
        W, before, start = (
            held[l] for held in (self.state.W, self.momentum.W, self.momentum.W_start)
        )
        penalty, device = self.problem.weight_penalties[l - 1], self.device
        if self.restore:
            W[...] = before
        else:
            step = W - before
            before[...] = W
            if self.beta > 0.0:
                T = step.dtype.type
                self.squared_more = self.squared_more + device.kernels.squared_distance(W, start)
                step *= T(self.beta)
                step += T(THETA) * (W - start)
                W += step
                device.project(W[:, :-1], penalty)
        start[...] = W
        self.objective = self.objective + device.penalty_sum(penalty, W[:, :-1])
        self.sums = device.sum(3)

    def on(self, layer: LayerOnTile, operator: Operator) -> ExtrapolationOnTile:
        """Move the states of a tile, and leave ``V^_{l-1} W_l^T`` in the work array B."""
        return ExtrapolationOnTile(self, layer, operator)

    def arrays(self, l: int) -> list[Any]:
        """Return the differences that the pass over layer l reads and writes."""
        V, U = self.momentum.V, self.momentum.U
        return [array for array in (V[l - 1], V[l], U[l]) if array is not None]

    def finish(self, l: int, log: DescentLog | None) -> None:
        """Take the sums over tiles, and tell `log` how far the blocks moved from P^k."""
        assert log is not None
        total = self.sums.total()
        self.objective = self.objective + self.unit * total[0]
        for k, kind in enumerate("VU", start=1):
            if (kind, l) in log.blocks:
                log.blocks[kind, l][1] = self.unit * total[k]
        moved = self.device.kernels.squared_distance(self.state.W[l], self.momentum.W[l])
        log.blocks["W", l][1] = moved


class ExtrapolationOnTile(IterateOnTile):
    """An extrapolation for the layer and the tile at hand."""

    def __init__(self, point: Extrapolation, layer: LayerOnTile, operator: Operator) -> None:
        self.point, self.layer = point, layer
        problem, l = point.problem, layer.l
        V, U = point.momentum.V, point.momentum.U
        if l > 1:
            self._move(layer.V_below, V[l - 1], problem.state_penalties[l - 2], None)
        before_V = self._memory("V", layer.V)
        if l == problem.n_layers:
            self._move(layer.V, V[l], problem.state_penalties[l - 1], before_V)
        else:
            # V_l moved in the pass over layer l + 1.
            beta = 0.0 if point.restore else point.beta
            D = V[l][layer.tile.rows]
            point.device.kernels.before_extrapolation(before_V, layer.V, D, beta)
        self._before = {"V": before_V}
        if U[l] is not None:
            self._before["U"] = self._memory("U", layer.U)
            self._move(layer.U, U[l], None, self._before["U"])
        coupling, _ = layer_terms(problem, point.device, layer, operator, point.couplings)
        if l == problem.n_layers:
            Y = point.state.Y[layer.tile.rows]
            kernels = point.device.kernels
            coupling = coupling + kernels.loss_sum(problem.loss, layer.V, Y, *layer.weight)
        self._sums = [coupling, 0.0, 0.0]

    def _memory(self, kind: str, A: Any) -> Any:
        """Return a work array for the rows of P^k."""
        return getattr(self.layer.tile.work.of(PointWork), kind).array(A.shape, A.dtype)

    def _move(self, A: Any, difference: Any, penalty: Any, before: Any) -> None:
        """Move rows A of V or U to the point; the array `before`, if any, receives those of P^k."""
        point, D = self.point, difference[self.layer.tile.rows]
        device, extrapolate = point.device, point.device.kernels.extrapolate
        if point.restore:
            extrapolate(A, D, -1.0, None, None)
            if penalty is not None:
                device.project(A, penalty)
        elif point.beta > 0.0:
            bounded = penalty is not None and penalty.ridge is None
            extrapolate(A, D, point.beta, penalty if bounded else None, before)
            return
        if before is not None:
            before[...] = A

    def keep_difference(self, kind: str) -> None:
        """Replace the difference of a block by that of the iteration; note its squared norm."""
        layer, point = self.layer, self.point
        A, differences = (layer.V, point.momentum.V) if kind == "V" else (layer.U, point.momentum.U)
        self._sums["VU".index(kind) + 1] = point.device.kernels.difference(
            differences[layer.l][layer.tile.rows], A, self._before[kind], *layer.weight
        )

    def finish(self) -> None:
        """Add the sums of the tile in its turn."""
        self.point.sums.add(self.layer.tile, tuple(self._sums))
