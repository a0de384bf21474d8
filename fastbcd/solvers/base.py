"""The common part of Algorithms 1 to 3: parameters, initial state, sweep over layers, objective."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.data.moments import weight_sum
from fastbcd.data.validation import (
    check_inputs,
    check_loss_targets,
    check_targets,
)
from fastbcd.devices.execution import Execution
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import collective_errors
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.layers import WeightBlock
from fastbcd.problem import Problem
from fastbcd.problem.initialization import INITIALIZATIONS, initial_weights
from fastbcd.problem.requirements import check_loss_update, check_output_penalty
from fastbcd.solvers import sample_weights
from fastbcd.solvers.blocks import LayerBlocks, LayerWork
from fastbcd.solvers.budget import planned_bytes
from fastbcd.solvers.output_block import update_output_states
from fastbcd.solvers.state import State
from fastbcd.solvers.subgradient import squared_subgradient
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import LARGEST, parse, require, require_integer
from fastbcd.support.renamed import renamed
from fastbcd.training.loop import Callback, Result, run
from fastbcd.training.meter import Meter


@own_errstate_in
class BlockCoordinateDescent:
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
        **where: Any,
    ) -> None:
        self.problem = problem
        self.alpha = require(alpha, "alpha", at_least=0, at_most=LARGEST)
        self.alpha_weights = (
            self.alpha
            if alpha_weights is None
            else require(alpha_weights, "alpha_weights", at_least=0, at_most=LARGEST)
        )
        self.loss_update = check_loss_update(loss_update, problem, self.alpha)
        check_output_penalty(problem, self.loss_update)
        self.device: Device
        self.dtype, self.device = Execution.of(execution, where).start()

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
        ranks, mean = self.device.ranks, self.problem.reduction == "mean"
        with collective_errors(ranks):
            inputs, targets = self._checked(X, Y)
            weight = sample_weights.checked(sample_weight, len(inputs), self.device, mean)
        kept, weight = sample_weights.agreed(weight, len(inputs), mean, ranks)
        with collective_errors(ranks):
            if not (weight is None and kept is None) and self.device.name != "cpu":
                raise InputError(
                    f"sample_weight: full batches have weights of samples on the processor only; "
                    f"give device='cpu', or leave it out on {self.device.name!r}"
                )
            state = self._first_state(inputs, targets, seed, init, bias, kept, weight)
        state.n_total = sum(ranks.gather(state.n))
        if state.n_total == 0:
            raise InputError("X must have at least one sample on some rank")
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

    def _checked(self, X: ArrayLike, Y: ArrayLike) -> tuple[Any, Any]:
        """Return samples and targets of `init` as arrays; `InputError` if they do not fit."""
        problem, device = self.problem, self.device
        others, blocks = device.ranks.size > 1, device.blocks
        X = check_inputs(device.as_input(X), problem.widths[0], others, blocks)
        Y = check_targets(device.as_input(Y), len(X), problem.widths[-1], others, blocks)
        check_loss_targets(Y, problem.loss, blocks)
        return X, Y

    def _first_state(
        self, X: Any, Y: Any, seed: int, init: str, bias: float, kept: Any, weight: Any
    ) -> State:
        """Draw the weights and allocate the states of the samples `kept` (None: all samples)."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        seed = require_integer(seed, "seed", at_least=0)
        drawn = initial_weights(
            problem,
            parse(init, INITIALIZATIONS, "init"),
            require(bias, "bias", at_least=-LARGEST),
            seed,
            self.dtype,
        )
        for W, penalty in zip(drawn, problem.weight_penalties, strict=True):
            device.project(W[:, :-1], penalty)
        if not all(np.isfinite(W).all() for W in drawn):
            raise InputError(f"init, bias: the weights overflow {self.dtype}; use smaller ones")
        weights = [device.array(W, self.dtype) for W in drawn]
        work, tile = planned_bytes(
            problem,
            device,
            self.dtype,
            self.has_preactivations,
            weights_of_samples=0 if weight is None else len(weight),
        )
        device.storage.plan(work, tile, device.n_threads or 1, [X, Y])
        n = len(X) if kept is None else int(kept.sum())
        shapes = [(n, d) for d in problem.widths[1:]]
        arrays: list[Any] = device.storage.allocate(
            shapes * (1 + self.has_preactivations), self.dtype
        )
        return State(
            W=[None, *weights],
            V=[sample_weights.place(device.storage, X, self.dtype, kept), *arrays[:L]],
            U=[None, *(arrays[L:] or [None] * L)],
            Y=sample_weights.place(device.storage, Y, self.dtype, kept),
            sample_weight=weight,
        )

    def forward(self, state: State) -> None:
        """Run the network with the weights of `state` and replace its U_l and V_l, l = 1..L.

        ``U_l = V^_{l-1} W_l^T`` (not stored in Algorithm 1), ``V_l = S_l V_{l-1} + act_l(U_l)``,
        and V_l is projected to the domain of its penalty.
        """
        problem, device = self.problem, self.device
        with device.session():
            operators = self._operators(state)

            def through_layers(tile: Tile) -> None:
                for l, operator in enumerate(operators, start=1):
                    V = state.V[l][tile.rows]
                    B = self._linear(tile, state, l, operator)
                    if self.has_preactivations:
                        state.U[l][tile.rows] = B
                    below = self._skipped(tile, state, l)
                    device.kernels.activate(V, problem.activations[l - 1], B, below)
                    device.project(V, problem.state_penalties[l - 1])

            arrays = [*state.V, *state.U]
            device.for_each_tile(state.n, problem.widths, self.dtype, through_layers, arrays=arrays)

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
        with self.device.session():
            for l in range(self.problem.n_layers, 0, -1):
                self._update_layer(state, l)
        state.iteration += 1
        return state

    def _update_layer(self, state: State, l: int) -> None:
        """Update the blocks of layer l: V_l, U_l and the sums for W_l in one pass, then W_l."""
        problem, device = self.problem, self.device
        unit = problem.per_sample(state.total_weight)
        blocks = self._blocks(state, l, measured=state.descent_log is not None)
        of_samples = blocks.of_samples()
        meter = Meter(device, state, l, kinds="".join(of_samples), unit=unit)
        blocks.prepare()
        meter.lap("V")
        with self._weight_block(state, l) as blocks.W_block:

            def update_samples(tile: Tile) -> None:
                of_tile = meter.of_tile(tile)
                for kind, update in of_samples.items():
                    update(tile, of_tile.decrease(kind))
                    of_tile.lap(kind)
                blocks.add_to_W(tile)
                of_tile.lap("W")
                of_tile.finish()

            device.for_each_tile(
                state.n, problem.widths, self.dtype, update_samples, arrays=blocks.arrays()
            )
            blocks.update_W(meter.decrease_of_weights)
        meter.finish()

    def _blocks(self, state: State, l: int, measured: bool) -> LayerBlocks:
        """Return the blocks of layer l; if they are `measured`, they report their decreases."""
        raise NotImplementedError

    def _update_output_states(
        self, tile: Tile, state: State, U: Any, below: Any, decrease: Any
    ) -> None:
        """Update V_L of one tile; U is U_L, or ``V^_{L-1} W_L^T`` in two-splitting.

        ``V_L = argmin s_L(V_L) + loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U|^2
        + alpha/2 |V_L - V_L'|^2``; prox-linear has ``<grad loss(V_L'), V_L>`` for the loss.
        """
        rows = tile.rows
        update_output_states(
            self.device,
            tile,
            self.problem,
            state.V[-1][rows],
            U,
            below,
            state.Y[rows],
            self.alpha,
            self.loss_update == "prox-linear",
            decrease,
            *state.weight_of(rows),
        )

    # -- operators of layers, and their values on a tile ----------------------------------------

    def _operators(self, state: State) -> list[Any]:
        """Return the operators ``V -> V^ W_l^T`` for l = 1..L."""
        layers = zip(self.problem.layers, state.W[1:], strict=True)
        return [layer.on(self.device, W) for layer, W in layers]

    def _linear_work(self, tile: Tile, state: State, l: int) -> Any:
        """Return the tile's work array B, of the shape of U_l."""
        shape = (tile.rows.stop - tile.rows.start, self.problem.widths[l])
        return tile.work.of(LayerWork).B.array(shape, self.dtype)

    def _linear(self, tile: Tile, state: State, l: int, operator: Any) -> Any:
        """Return ``V^_{l-1} W_l^T`` of a tile, in the work array B."""
        B = self._linear_work(tile, state, l)
        operator.apply(B, state.V[l - 1][tile.rows])
        return B

    def _skipped(self, tile: Tile, state: State, l: int) -> Any:
        """Return ``S_l V_{l-1}`` of a tile; None where layer l is not residual."""
        skip = self.problem.skips[l - 1]
        return None if skip is None else skip.apply(tile, state.V[l - 1][tile.rows])

    @contextmanager
    def _weight_block(self, state: State, l: int) -> Iterator[WeightBlock]:
        """The block of W_l with empty sums; for l = 1 a known Gram matrix of X is kept.

        Blocks stay in the cache of `state`, so that their memory serves all iterations.
        """
        if state.cache.get("device") is not self.device:
            state.cache.clear()  # it belongs to another solver, with its threads and memory
            state.cache["device"] = self.device
        key = "input equations" if l == 1 else f"equations {l}"
        if key not in state.cache:
            layer = self.problem.layers[l - 1]
            state.cache[key] = layer.weight_block(self.device, same_inputs=l == 1)
        X, weight = state.cache.get("inputs of the gram", (None, None))
        known = l == 1 and X is state.X and weight is state.sample_weight
        block: WeightBlock = state.cache[key]
        block.start(keep_gram=known)
        if l == 1:
            state.cache["inputs of the gram"] = state.X, state.sample_weight
        yield block
        block.finish()

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
        problem, device = self.problem, self.device
        with device.session():
            sums = device.sum(2)
            operators = self._operators(state)

            def add_terms(tile: Tile) -> None:
                V, Y = state.V[-1][tile.rows], state.Y[tile.rows]
                weight = state.weight_of(tile.rows)
                part, violation = device.kernels.loss_sum(problem.loss, V, Y, *weight), 0.0
                for l, operator in enumerate(operators, start=1):
                    V, penalty = state.V[l][tile.rows], problem.state_penalties[l - 1]
                    residual, distance = self._couplings(tile, state, l, operator)
                    coupling = 0.5 * (problem.gamma * residual + problem.rho * distance)
                    part += coupling + device.penalty_sum(penalty, V, *weight)
                    violation += residual + distance
                sums.add(tile, (part, violation))

            arrays = [*state.V, *state.U, state.Y]
            device.for_each_tile(state.n, problem.widths, self.dtype, add_terms, arrays=arrays)
            penalties = zip(problem.weight_penalties, state.W[1:], strict=True)
            weights = float(sum(device.penalty_sum(penalty, W[:, :-1]) for penalty, W in penalties))
            unit, total = problem.per_sample(state.total_weight), sums.total()
            return unit * float(total[0]) + weights, math.sqrt(unit * float(total[1]))

    def _couplings(self, tile: Tile, state: State, l: int, operator: Any) -> tuple[Any, Any]:
        """Return the squared norms that gamma/2 and rho/2 weigh in layer l, over one tile."""
        raise NotImplementedError

    def magnitude_bound(self, state: State) -> float:
        """Return ``unit (1 + gamma + rho) (|Y|^2 + |V|^2 + |U|^2)`` of `state`.

        F would be about this large if no differences cancelled. Rounding of the stored arrays
        changes F by about eps^2 times this, with eps of their dtype.
        """
        problem, device = self.problem, self.device
        arrays = [state.Y, *state.V[1:], *(U for U in state.U[1:] if U is not None)]
        with device.session():
            squares = device.sum(1)

            def add_squares(tile: Tile) -> None:
                rows, weight = tile.rows, state.weight_of(tile.rows)
                squares.add(
                    tile, sum(device.kernels.squared_norm(A[rows], *weight) for A in arrays)
                )

            device.for_each_tile(state.n, problem.widths, self.dtype, add_squares, arrays=arrays)
            unit = problem.per_sample(state.total_weight)
            return unit * (1.0 + problem.gamma + problem.rho) * float(squares.total()[0])

    def squared_subgradient(self, state: State) -> float:
        """Return ``|g|^2`` of a subgradient of F at `state`; see `fastbcd.solvers.subgradient`."""
        return squared_subgradient(self.problem, self.device, state, self.coupling_residuals)

    def coupling_residuals(
        self, tile: Tile, state: State, l: int, operator: Any
    ) -> tuple[Any, Any, Any]:
        """Return A_l, R_l and ``|g_U_l|^2`` of one `tile` of `state`; see `squared_subgradient`.

        A_l and R_l are new arrays. `operator` is layer l with its weights, l from 1 to L.
        """
        raise NotImplementedError

    energy = renamed("energy", "magnitude_bound")
    miss_and_pull = renamed("miss_and_pull", "coupling_residuals")
    objective_and_gap = renamed("objective_and_gap", "objective_and_violation")

    def promised_decrease(self) -> float:
        """Return the a of ``F(P^{k-1}) - F(P^k) >= a |P^k - P^{k-1}|^2`` for every iteration k.

        P are all blocks, in the norm of `DescentLog`. If alpha is 0, the theorem promises nothing
        and a is 0.
        """
        raise NotImplementedError

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
