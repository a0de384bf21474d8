"""The common part of Algorithms 1 to 3: parameters, the sweep over layers, what a solver offers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from numpy.typing import ArrayLike

from fastbcd.data.moments import weight_sum
from fastbcd.devices.execution import Execution
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.layers import Operator
from fastbcd.problem import Problem
from fastbcd.problem.requirements import (
    check_exact_products,
    check_layers,
    check_loss_update,
    check_output_penalty,
)
from fastbcd.solvers.acceleration import accelerated_iteration, checked_acceleration
from fastbcd.solvers.blocks import LayerBlocks
from fastbcd.solvers.evaluation import magnitude_bound, objective_and_violation
from fastbcd.solvers.first_state import checked_samples, first_state, first_weights, forward
from fastbcd.solvers.momentum import Momentum
from fastbcd.solvers.on_tile import LayerOnTile
from fastbcd.solvers.starting_point import Iterate
from fastbcd.solvers.state import State
from fastbcd.solvers.subgradient import squared_subgradient
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import LARGEST, require
from fastbcd.support.renamed import renamed
from fastbcd.training.descent_log import DescentLog
from fastbcd.training.loop import Callback, Result, run
from fastbcd.training.meter import Meter


@own_errstate_in
class BlockCoordinateDescent(ABC):
    """Base of `TwoSplitting` and `ThreeSplitting`, whose docstrings describe the parameters.

    A solver holds hyperparameters only; `State` holds the arrays. `step` works in place.
    """

    monotone = True
    """True: F never increases."""
    has_preactivations: bool
    """True if the algorithm has blocks U_l."""

    def __init__(
        self,
        problem: Problem,
        alpha: float = 1e-3,
        alpha_weights: float | None = None,
        loss_update: str = "prox",
        execution: Execution | None = None,
        acceleration: str | None = None,
        **where: Any,
    ) -> None:
        self.problem = problem
        self.alpha = require(alpha, "alpha", at_least=0, at_most=LARGEST)
        weights = self.alpha if alpha_weights is None else alpha_weights
        self.alpha_weights = require(weights, "alpha_weights", at_least=0, at_most=LARGEST)
        self.loss_update = check_loss_update(loss_update, problem, self.alpha)
        check_output_penalty(problem, self.loss_update)
        self.acceleration = checked_acceleration(acceleration)
        self.device: Device
        self.dtype, self.device = Execution.of(execution, where).start()
        check_exact_products(self.device)
        check_layers(problem, self.device)

    def init(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        seed: int = 0,
        init: str = "he",
        bias: float = 0.0,
        sample_weight: ArrayLike | None = None,
    ) -> State:
        """Return the state before the first iteration: random weights, and a forward pass.

        Weights and states are projected to the domains of their penalties.

        Parameters
        ----------
        X : (n, d_0) array
            With `comm`, each rank passes its own samples; some ranks may have none.
        Y : (n, d_L) array
            Targets; for classification one-hot rows, see `fastbcd.one_hot`.
        seed : int
        init : {"he", "normal", "normal:STD"}
        bias : float
            Initial value of every bias.
        sample_weight : (n,) array, optional
            The c_i >= 0 of `Problem`, on the processor only; default: 1 each. A weight of 2 counts
            a sample twice, up to the rounding of sums. A sample of weight 0 is left out: the state
            has no row for it.

        Raises
        ------
        InputError
            Shapes do not fit the problem, there are no samples, X or Y has NaN or infinity, or
            weights are negative or all zero.
        """
        problem, device, ranks = self.problem, self.device, self.device.ranks
        samples = checked_samples(problem, device, X, Y, sample_weight)
        with collective_errors(ranks):
            weights = first_weights(problem, device, self.dtype, seed, init, bias)
            accelerated = self.acceleration is not None
            state = first_state(
                problem, device, samples, weights, self.has_preactivations, accelerated
            )
            if accelerated:
                state.momentum = Momentum.none_yet(device, state)
        state.n_total = sum(ranks.gather(state.n))
        if state.n_total == 0:
            raise InputError("X must have at least one sample on some rank")
        weight = state.sample_weight
        state.sum_of_weights = None if weight is None else weight_sum(weight, ranks)
        with collective_errors(ranks):
            self.forward(state)
            bound = self.magnitude_bound(state)
        if not math.isfinite(bound):
            raise InputError(
                f"X, init or activation: states overflow {self.dtype} in the first forward pass; "
                "use smaller inputs or weights, or another activation"
            )
        return state

    def forward(self, state: State) -> None:
        """Run the network with the weights of `state` and replace its U_l and V_l, l = 1..L.

        ``U_l = V^_{l-1} W_l^T`` (not stored in Algorithm 1), ``V_l = S_l V_{l-1} + act_l(U_l)``,
        and V_l is projected to the domain of its penalty.
        """
        forward(self.problem, self.device, state)

    def rows(self, n: int) -> slice:
        """Return this rank's share of `n` samples, whole tiles; all rows without `comm`.

        With whole tiles the products of each tile are those of a single process. In float32 their
        sums in float64 are exact, as a rule, so the weights are the same to the last bit on any
        number of ranks. With other shares they differ as with another `tile_rows`.
        """
        return self.device.ranks.rows(n, self.device.tile_rows(self.problem.widths, self.dtype))

    def blank(self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None) -> State:
        """Return a state that a checkpoint can be loaded into; parameters as for `init`."""
        return self.init(X, Y, init="normal:0", sample_weight=sample_weight)

    def step(self, state: State) -> State:
        """Do one iteration of `state`, in place: all blocks of layer L, then of L - 1, ..., 1.

        Raises
        ------
        InputError
            The state belongs to the other splitting.
        """
        if (state.U[-1] is not None) != self.has_preactivations:
            raise InputError(
                "state: it was made for the other splitting; a state has U in ThreeSplitting only"
            )
        state.make_own()
        if state.descent_log is not None:
            state.descent_log.clear()
        if state.clock is not None:
            state.clock.clear()

        def sweep(point: Iterate, log: DescentLog | None) -> None:
            for l in range(self.problem.n_layers, 0, -1):
                self._update_layer(state, l, point, log)

        with self.device.session():
            if self.acceleration is None:
                state.momentum = None  # it would not be that of the last iteration any more
                sweep(Iterate(), state.descent_log)
            else:
                sufficient = self.promised_decrease()
                accelerated_iteration(
                    self.problem, self.device, state, sweep, self._couplings, sufficient
                )
        state.iteration += 1
        return state

    def _update_layer(self, state: State, l: int, point: Iterate, log: DescentLog | None) -> None:
        """Update the blocks of layer l: V_l, U_l and the sums for W_l in one pass, then W_l.

        The blocks are moved to their starting `point` first.
        """
        problem, device = self.problem, self.device
        point.begin(l)
        blocks = self._blocks(state, l, measured=log is not None)
        of_samples = blocks.of_samples()
        meter = Meter(device, state, l, kinds="".join(of_samples), unit=blocks.unit, log=log)
        blocks.prepare()
        meter.lap("V")
        layer, X, weight = problem.layers[l - 1], state.X, state.sample_weight
        with state.cache.weight_block(device, layer, l, X, weight) as blocks.W_block:

            def update_samples(tile: Tile) -> None:
                of_tile = meter.of_tile(tile)
                start = point.on(blocks.on(tile), blocks.operator)
                for kind, update in of_samples.items():
                    update(tile, of_tile.decrease(kind))
                    start.keep_difference(kind)
                    of_tile.lap(kind)
                blocks.add_to_W(tile)
                of_tile.lap("W")
                of_tile.finish()
                start.finish()

            arrays = [*blocks.arrays(), *point.arrays(l)]
            device.for_each_tile(state.n, problem.widths, self.dtype, update_samples, arrays=arrays)
            blocks.update_W(meter.decrease_of_weights)
        meter.finish()
        point.finish(l, log)

    @abstractmethod
    def _blocks(self, state: State, l: int, measured: bool) -> LayerBlocks:
        """Return the blocks of layer l; if they are `measured`, they report their decreases."""

    def objective(self, state: State) -> float:
        """Return F of `Problem` at `state`, with sums in float64."""
        return self.objective_and_violation(state)[0]

    def objective_and_violation(self, state: State) -> tuple[float, float]:
        """Return F and the constraint violation of `state`, by one pass over samples.

        .. code-block:: text

            violation = sqrt(unit sum_l (|V_l - S_l V_{l-1} - act_l(U_l)|^2
                                         + |U_l - V^_{l-1} W_l^T|^2))
            two-splitting: sqrt(unit sum_l |V_l - act_l(V^_{l-1} W_l^T)|^2)

        with unit = 1/n or 1 as in `Problem.per_sample`; sums over samples are weighted as in F.
        Where the violation is 0, F is the penalised loss of the network.
        """
        return objective_and_violation(self.problem, self.device, state, self._couplings)

    @abstractmethod
    def _couplings(self, layer: LayerOnTile, operator: Operator) -> tuple[Any, Any]:
        """Return the squares that gamma/2 and rho/2 weigh in a layer, over one tile.

        `operator` is the layer with its weights.
        """

    def magnitude_bound(self, state: State) -> float:
        """Return ``unit (1 + gamma + rho) (|Y|^2 + |V|^2 + |U|^2)`` of `state`.

        F would be about this large if no differences cancelled. Rounding of the stored arrays
        changes F by about eps^2 times this, with eps of their dtype.
        """
        return magnitude_bound(self.problem, self.device, state)

    def squared_subgradient(self, state: State) -> float:
        """Return ``|g|^2`` of a subgradient of F at `state`; see `fastbcd.solvers.subgradient`."""
        return squared_subgradient(self.problem, self.device, state, self.coupling_residuals)

    @abstractmethod
    def coupling_residuals(
        self, tile: Tile, state: State, l: int, operator: Any
    ) -> tuple[Any, Any, Any]:
        """Return A_l, R_l and ``|g_U_l|^2`` of one `tile` of `state`; see `squared_subgradient`.

        A_l and R_l are new arrays. `operator` is layer l with its weights, l from 1 to L.
        """

    energy = renamed("energy", "magnitude_bound")
    miss_and_pull = renamed("miss_and_pull", "coupling_residuals")
    objective_and_gap = renamed("objective_and_gap", "objective_and_violation")

    @abstractmethod
    def promised_decrease(self) -> float:
        """Return the a of ``F(P^{k-1}) - F(P^k) >= a |P^k - P^{k-1}|^2`` for every iteration k.

        P are all blocks, in the norm of `DescentLog`. If alpha is 0, the theorem promises nothing
        and a is 0.
        """

    def _promise_of_output_state(self) -> float:
        """Return the a of the V_L-block: Theorem 1, or Theorem 2 for prox-linear updates."""
        problem = self.problem
        if self.loss_update == "prox-linear":
            return self.alpha + (problem.gamma - float(problem.loss.lipschitz or 0.0)) / 2
        return self.alpha + problem.gamma / 2

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        max_iter: int = 50,
        seed: int = 0,
        init: str = "he",
        bias: float = 0.0,
        callbacks: Iterable[Callback] = (),
        sample_weight: ArrayLike | None = None,
    ) -> Result:
        """Call `init`, then `step` `max_iter` times, with `callbacks` after each; see `Result`.

        X, Y, seed, init, bias and sample_weight are as for `init`. `FloatingPointError` if a
        measured objective is not finite.
        """
        state = self.init(X, Y, seed=seed, init=init, bias=bias, sample_weight=sample_weight)
        return run(self, state, max_iter, callbacks)
