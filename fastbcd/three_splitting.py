"""Algorithms 2 and 3: three-splitting block coordinate descent, plain and residual."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.devices import CPU, get_device
from fastbcd.devices.tiles import Tile
from fastbcd.errors import InputError
from fastbcd.fit import Callback, Result, run
from fastbcd.initialization import INITIALIZATIONS, initial_weights
from fastbcd.problem import Problem
from fastbcd.specification import LARGEST, parse, require, require_integer
from fastbcd.state import State
from fastbcd.validation import (
    check_dtype,
    check_inputs,
    check_loss_targets,
    check_loss_update,
    check_targets,
)


class ThreeSplitting:
    """Three-splitting BCD: every block is minimised exactly, so F never increases.

    Parameters
    ----------
    problem : Problem
        Network, loss, penalties and couplings.
    alpha : float, default=1e-3
        Weight of the proximal terms ``alpha/2 |. - previous|^2``, >= 0.
    alpha_weights : float, optional
        The same for the W-blocks, where it should differ: with
        ``reduction="mean"`` a sample's term is divided by n, a weight's is not.
    loss_update : {"prox", "prox-linear"}, default="prox"
        V_L-block: the loss itself, or linearised at the old states. Prox-linear needs a
        loss with a Lipschitz gradient (constant L) and ``alpha > max(0, (L - gamma) / 2)``.
    device : {"cpu"}, default="cpu"
    dtype : {"float32", "float64"}, default="float32"
        Storage and products; sums over samples and solves are in float64.
    n_threads : int, optional
        Default: as many as BLAS would use. Results do not depend on it.
    tile_rows : int, optional
        Samples per tile; default: chosen from the cache size.

    Notes
    -----
    Zeng, Lau, Lin, Yao (ICML 2019), Algorithm 2, and Algorithm 3 where the problem has
    residual layers: 2 is the case of all ``S_l = 0``. A solver holds hyperparameters
    only; `State` holds the arrays. `step` works in place.
    """

    def __init__(
        self,
        problem: Problem,
        alpha: float = 1e-3,
        alpha_weights: float | None = None,
        loss_update: str = "prox",
        device: str = "cpu",
        dtype: str = "float32",
        n_threads: int | None = None,
        tile_rows: int | None = None,
    ) -> None:
        self.problem = problem
        self.alpha = require(alpha, "alpha", at_least=0, at_most=LARGEST)
        self.alpha_weights = (
            self.alpha
            if alpha_weights is None
            else require(alpha_weights, "alpha_weights", at_least=0, at_most=LARGEST)
        )
        self.loss_update = check_loss_update(loss_update, problem, self.alpha)
        self.dtype = check_dtype(dtype)
        self.device: CPU = get_device(device, n_threads, tile_rows)

    def init(
        self, X: ArrayLike, Y: ArrayLike, seed: int = 0, init: str = "he", bias: float = 0.0
    ) -> State:
        """State before the first iteration: random weights, states from a forward pass.

        Parameters
        ----------
        X : (n, d_0) array
        Y : (n, d_L) array
            Targets; for classification one-hot rows, see `fastbcd.one_hot`.
        seed : int
        init : {"he", "normal", "normal:STD"}
        bias : float
            Initial value of every bias.

        Raises
        ------
        InputError
            Shapes that disagree with the problem, no samples, NaN or infinity.
        """
        problem, device = self.problem, self.device
        seed = require_integer(seed, "seed", at_least=0)
        X = check_inputs(X, problem.widths[0])
        Y = check_targets(Y, len(X), problem.widths[-1])
        check_loss_targets(Y, problem.loss)
        drawn = initial_weights(
            problem.widths,
            problem.residual,
            parse(init, INITIALIZATIONS, "init"),
            require(bias, "bias", at_least=-LARGEST),
            seed,
            self.dtype,
        )
        for W in drawn:
            device.project(W, problem.weight_penalty)
        if not all(np.isfinite(W).all() for W in drawn):
            raise InputError(f"init, bias: the weights overflow {self.dtype}; use smaller ones")
        n = len(X)
        hidden_and_output = [(n, d) for d in problem.widths[1:]]
        state = State(
            W=[None, *(device.array(W, self.dtype) for W in drawn)],
            V=[device.array(X, self.dtype)]
            + [device.empty(shape, self.dtype) for shape in hidden_and_output],
            U=[None, *(device.empty(shape, self.dtype) for shape in hidden_and_output)],
            Y=device.array(Y, self.dtype),
        )
        with device.session():
            layers = {l: device.layer(state.W[l]) for l in range(1, problem.n_layers + 1)}

            def forward(tile: Tile) -> None:
                for l in range(1, problem.n_layers + 1):
                    V, U = state.V[l][tile.rows], state.U[l][tile.rows]
                    U[:] = device.forward(tile, layers[l], state.V[l - 1][tile.rows])
                    below = self._skip(state, l, tile.rows)
                    device.activate(V, problem.activations[l - 1], U, below)

            device.for_each_tile(n, problem.widths, self.dtype, forward)
        return state

    def step(self, state: State) -> State:
        """One iteration of Algorithm 2 or 3, in place: (V_L, U_L, W_L), ..., (V_1, U_1, W_1)."""
        with self.device.session():
            for l in range(self.problem.n_layers, 0, -1):
                self._update_layer(state, l)
        state.iteration += 1
        return state

    def _update_layer(self, state: State, l: int) -> None:
        """V_l, U_l and the sums for W_l in one pass over tiles of samples; then W_l."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        W, V, U = state.W, state.V, state.U
        weights = problem.weights(state.n)
        gamma, rho = weights.gamma, weights.rho
        alpha = self.alpha * weights.per_sample
        activation = problem.activations[l - 1]
        layer = device.layer(W[l])
        equations = self._normal_equations(state, l)
        if l < L:
            k = gamma * (1 + problem.residual[l]) / rho
            following = device.layer_with_operator(W[l + 1], k)

        def update_samples(tile: Tile) -> None:
            rows = tile.rows
            below = self._skip(state, l, rows)
            if l == L:
                # V_L = argmin loss(V_L; Y) + gamma/2 |V_L - S_L V_{L-1} - U_L|^2
                #              + alpha/2 |V_L - V_L'|^2
                # (prox-linear: <grad loss(V_L'), V_L> for the loss)
                linearised = self.loss_update == "prox-linear"
                device.update_output_state(
                    *(tile, V[L][rows], problem.loss, linearised, U[L][rows], below),
                    *(state.Y[rows], weights.loss, gamma, alpha),
                )
            else:
                # V_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2
                #            + gamma/2 S_{l+1} |V_{l+1} - V_l - act(U_{l+1})|^2
                #            + rho/2 |U_{l+1} - V^_l W_{l+1}^T|^2
                V_next = V[l + 1][rows] if problem.residual[l] else None
                device.state_center(
                    *(V[l][rows], activation, U[l][rows], below),
                    *(problem.activations[l], U[l + 1][rows], V_next),
                )
                device.solve_state(tile, V[l][rows], U[l + 1][rows], following)
            # U_l = argmin gamma/2 |V_l - S_l V_{l-1} - act(U_l)|^2
            #            + rho/2 |U_l - V^_{l-1} W_l^T|^2 + alpha/2 |U_l - U_l'|^2 (hidden layers)
            B = device.forward(tile, layer, V[l - 1][rows])
            device.update_preactivation(
                *(U[l][rows], activation, V[l][rows], below, B),
                *(gamma, rho, alpha if l < L else 0.0),
            )
            equations.add(tile, B, V[l - 1][rows])

        device.for_each_tile(state.n, problem.widths, self.dtype, update_samples)
        # W_l = argmin r(W_l) + rho/2 |U_l - V^_{l-1} W_l^T|^2 + alpha/2 |W_l - W_l'|^2
        equations.solve(W[l], rho, problem.weight_penalty, self.alpha_weights)

    def _skip(self, state: State, l: int, rows: slice) -> Any:
        """``V_{l-1}`` of some samples where ``S_l = 1``, else None."""
        return state.V[l - 1][rows] if self.problem.residual[l - 1] else None

    def _normal_equations(self, state: State, l: int) -> Any:
        """Normal equations of W_l, empty but for the Gram matrix of X, which never changes."""
        key = "input equations" if l == 1 else f"equations {state.W[l].shape}"
        if key not in state.cache:
            state.cache[key] = self.device.normal_equations(state.W[l])
        known = l == 1 and state.cache.get("inputs of the gram") is state.X
        state.cache[key].start(keep_gram=known)
        if l == 1:
            state.cache["inputs of the gram"] = state.X
        return state.cache[key]

    def objective(self, state: State) -> float:
        """F of `Problem`, evaluated on the arrays of `state`, its sums in float64."""
        problem, device, L = self.problem, self.device, self.problem.n_layers
        W, V, U = state.W, state.V, state.U
        totals = np.zeros(3)
        with device.session():
            layers = {l: device.layer(W[l]) for l in range(1, L + 1)}

            def add_terms(tile: Tile) -> None:
                rows = tile.rows
                loss = device.loss_sum(problem.loss, V[L][rows], state.Y[rows])
                activation = linear = 0.0
                for l in range(1, L + 1):
                    below = self._skip(state, l, rows)
                    activation += device.activation_residual(
                        problem.activations[l - 1], V[l][rows], U[l][rows], below
                    )
                    B = device.forward(tile, layers[l], V[l - 1][rows])
                    linear += device.linear_residual(U[l][rows], B)
                tile.wait_for_turn()
                totals[:] += loss, activation, linear

            device.for_each_tile(state.n, problem.widths, self.dtype, add_terms)
        weights = problem.weights(state.n)
        coefficients = np.array([weights.loss, 0.5 * weights.gamma, 0.5 * weights.rho])
        penalties = sum(device.penalty_sum(problem.weight_penalty, w) for w in W[1:])
        return float(coefficients @ totals) + penalties

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        max_iter: int = 50,
        seed: int = 0,
        init: str = "he",
        bias: float = 0.0,
        callbacks: Iterable[Callback] = (),
    ) -> Result:
        """`init`, then `max_iter` times `step`, with `callbacks` after each; see `Result`."""
        return run(self, self.init(X, Y, seed=seed, init=init, bias=bias), max_iter, callbacks)
