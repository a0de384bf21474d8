"""Three-splitting on mini-batches: the blocks of Algorithms 2 and 3, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.data.augmentation import Augmentation, Moves
from fastbcd.devices.execution import Execution
from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.problem import Problem
from fastbcd.problem.requirements import check_layers
from fastbcd.solvers.mini_batch.batches import Samples, n_batches, rows_here, shuffled_batches
from fastbcd.solvers.mini_batch.evaluation import objective
from fastbcd.solvers.mini_batch.first_state import first_state
from fastbcd.solvers.mini_batch.inputs import checked_batch, checked_data
from fastbcd.solvers.mini_batch.noise import Noise
from fastbcd.solvers.mini_batch.rhythm import StepScalars, step_scalars
from fastbcd.solvers.mini_batch.schedule import get_schedule
from fastbcd.solvers.mini_batch.settings import (
    Settings,
    passes_for,
    settings_for,
    step_unit_for,
)
from fastbcd.solvers.mini_batch.sparse_inputs import taken_sparse
from fastbcd.solvers.mini_batch.state import MiniBatchState
from fastbcd.solvers.mini_batch.sweep import BatchSweep
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import SMALLEST, flag, optional, require, require_integer
from fastbcd.training.loop import Callback, Result, network_of, run


@own_errstate_in
class MiniBatchThreeSplitting:
    """Three-splitting BCD on mini-batches, from consistent states, with an implicit W-block.

    Each batch of m samples takes one sweep:

    .. code-block:: text

        forward     U_l = V^_{l-1} W_l^T,  V_l = S_l V_{l-1} + act_l(U_l)          l = 1..L
        V_L         argmin loss(V_L; Y) + stiffness gamma/2 |V_L - S_L V_{L-1} - U_L|^2
        U_l         argmin gamma/2 |V_l - S_l V_{l-1} - act_l(U_l)|^2
                        + rho/2 |U_l - V^_{l-1} W_l^T|^2                            l = L..1
        V_l         argmin gamma/2 |V_l - S_l V_{l-1} - act_l(U_l)|^2
                        + gamma/2 S_{l+1} |V_{l+1} - V_l - act_{l+1}(U_{l+1})|^2
                        - rho <U_{l+1} - V^_l' W_{l+1}^T, V_l W_{l+1}^T>            l = L-1..1
        D_l         = U_l - (U_l of the forward pass), scaled before the V_{l-1}-block takes it
                    such that rms(D_{l-1}) is about displacement rms(U_{l-1})
        W_l         M_l = momentum M_l + (1 - momentum) D_l^T V^_{l-1} / (m rms(D_l))
                    W_l = (1 - step_size weight_decay) W_l + step_size Z_l
                    D_l is multiplied by B_l^-1 in M_l               output_rank > 0
                    momentum M_l + (1 - momentum) D_l^T V^_{l-1} / (m rms(D_l)) replaces M_l in Z_l
                    and N_l                                          nesterov
                    Z_l = M_l H_l^-1                                 step_unit = "fit"
                    Z_l = M_l H_l^-1 / rms(V^_{l-1} (M_l H_l^-1)^T)  step_unit = "output"
                    Z_l = R_l M_l H_l^-1 / rms(V^_{l-1} (R_l M_l H_l^-1)^T)   step_unit = "spectral"
                    R_l = (N_l + 0.1 tr(N_l)/d_l I)^(-1/2), N_l = M_l H_l^-1 M_l^T

    with ``H_l = G_l + damping tr(G_l)/d I``, G_l the running Gram matrix of ``V^_{l-1}``
    (`GramMetric`, which adds to the damping if it does not keep a large direction of G_l), S_l the
    skip operator and M_l the momentum. For a step size of 1 and no momentum, W_l is the W-block of
    Algorithm 2 for the targets D_l / rms(D_l) and ``alpha = damping tr(G_l)/d``. With the unit
    "output" the step changes the pre-activations U_l by the step size, in the root mean square over
    samples and outputs, so one number suits layers of any width and kernel. With "spectral" this
    change is spread over all directions of U_l: without the 0.1 the step would be steepest descent
    in the spectral norm of ``Z H_l^(1/2)``. With the squared loss the last layer's step is in units
    of ``rms(Y - mean Y)``. With weights w_i of samples, D_L of sample i is multiplied by w_i and F
    is the mean of ``w_i loss_i``, so small updates follow its gradient.

    Parameters
    ----------
    problem : Problem
        Network, loss, weight penalties, `gamma`. State penalties are refused, because states do
        not last from batch to batch.
    batch_size : int, optional
        Default: a fortieth of the samples, between 16 and 500.
    step_size : float, optional
        Default: 0.65 divided by the root of the number of layers that are not residual, times
        ``min(1, batch_size / 500)^(3/4)``; with the units "output" and "spectral"
        ``0.05 min(1, batch_size / 250)^(1/2)``.
    schedule : {"cosine", "linear", "constant"}, default="cosine"
        The factor of the step size, from the first batch to the last.
    momentum, damping : float, optional
        Damping is the weight of the proximal term, in units of the Gram matrix' mean eigenvalue.
        Default: 0.9 and 5, less for larger batches (`fastbcd.solvers.mini_batch.settings`).
    rank : int, optional
        Number of directions in which the metric differs from a multiple of the identity. With 0
        the step size must be smaller. Default: 16, more for larger batches.
    output_rank : int, default=0
        Number of directions kept of the second moment C_l of the updates D_l of all samples. With
        it a step is shorter in the directions in which many updates agree:
        ``B_l = (C_l + 0.1 tr(C_l)/d_l I)^(1/2) / level^(1/2)``, see
        `fastbcd.solvers.mini_batch.output_metric`. With 0, B_l is the identity.
    displacement : float, default=1e-3
        Size of the updates D_l relative to U_l; in the limit of 0 they follow the negative
        gradient of the loss.
    rho : float, default=16
        Weight of the linear coupling. F does not depend on it, because states are consistent.
    weight_decay : float, default=0.02
        Decay of weights, not of biases; it is multiplied by the step size.
    average : float, default=0.98
        Decay per batch of the mean weights, which make predictions; with 0 the last weights do.
        The mean takes the weights of every fourth batch if a pass has 32 or more.
    step_unit : {"fit", "output", "spectral"}, optional
        What a step size of 1 stands for: the least-squares fit of the updates D_l, or a change of
        rms 1 of the pre-activations, with "spectral" in nearly all of their directions. The change
        is measured on 32 to 63 samples of the batch, or on all of a smaller one. "spectral" needs
        eigenvectors of a d_l x d_l matrix for each layer and batch, d_l being the channels of a
        convolution and the width of a dense layer; it runs on the processor only. Default: "output"
        for networks with convolutions, whose outputs share weights, and else "fit".
    augment : str or Augmentation, optional
        Each image of a batch is shifted at random by -P..P rows and columns (``"crop:P"``),
        mirrored with probability 1/2 (``"flip"``), or both (``"crop:P,flip"``). Pixels from outside
        are 0, unless a `fastbcd.data.augmentation.Augmentation` has another padding. If the first
        layer is dense, give an `Augmentation`, which also has the shape of images. The moves do not
        depend on ranks or threads. The objective and predictions see unmoved images. It runs on the
        processor only. Default: no moves.
    dropout : float, default=0
        Each output of a hidden layer is 0 in a batch with this probability, from 0 to below 1, else
        it is divided by ``1 - dropout``. The layer's own update of V is multiplied by the same
        numbers. Convolutions and pools have no dropout; residual layers refuse it. The numbers do
        not depend on ranks or threads. The objective and predictions use the whole network.
    input_noise : float, default=0
        Standard deviation of normal noise that is added to the inputs of each batch. This and
        `dropout` run on the processor only.
    nesterov : bool, default=False
        The step looks ahead by one batch: it follows the momentum as the same batch would change it
        once more, as in ``torch.optim.SGD(nesterov=True)``.
    execution : Execution, optional
        Where and how the work runs, as in `ThreeSplitting`.
    **where
        The fields of `Execution` as keywords, as in `ThreeSplitting`. A batch has samples from all
        ranks of `comm`. With `memory` nothing is copied to files; of memory-mapped samples only
        those of one batch are in memory. With ``precision="bf16"``, on a processor that has the
        instructions, products round their factors in dense layers of 64 or more inputs and outputs,
        and in convolutions with even numbers of channels.

    Raises
    ------
    InputError
        A parameter is not valid; the message names it and says what would be right.

    Notes
    -----
    States are consistent at the start of each batch, so the three-splitting objective equals the
    loss there. Every block of V and U decreases the objective of the batch (V_l with some proximal
    weight, which the scaling cancels), and the W-block decreases its quadratic model. But the loss
    of all samples may rise in a pass, and no subgradient is bounded. A penalty on W takes its
    proximal step after the W-block, with the same length as the gradient. Memory does not depend on
    n. The blocks follow Zeng et al. (ICML 2019), Algorithms 2 and 3; the metric is that of one side
    of the network (Benzing, ICML 2022).
    """

    monotone = False

    def __init__(
        self,
        problem: Problem,
        batch_size: int | None = None,
        step_size: float | None = None,
        schedule: str = "cosine",
        momentum: float | None = None,
        damping: float | None = None,
        rank: int | None = None,
        output_rank: int = 0,
        displacement: float = 1e-3,
        rho: float = 16.0,
        weight_decay: float = 0.02,
        average: float = 0.98,
        step_unit: str | None = None,
        augment: str | Augmentation | None = None,
        dropout: float = 0.0,
        input_noise: float = 0.0,
        nesterov: bool = False,
        execution: Execution | None = None,
        **where: Any,
    ) -> None:
        self.problem = problem
        self.batch_size = optional(require_integer, batch_size, "batch_size", at_least=1)
        self.step_size = optional(require, step_size, "step_size", at_least=0)
        self.momentum = optional(require, momentum, "momentum", at_least=0, at_most=1 - 1e-6)
        self.damping = optional(require, damping, "damping", at_least=1e-6)
        self.nesterov = flag(nesterov, "nesterov")
        self.schedule = get_schedule(schedule)
        self.rank = optional(require_integer, rank, "rank", at_least=0)
        self.output_rank = require_integer(output_rank, "output_rank", at_least=0)
        self.displacement = require(displacement, "displacement", at_least=1e-6)
        self.rho = require(rho, "rho", at_least=SMALLEST)
        self.weight_decay = require(weight_decay, "weight_decay", at_least=0)
        self.average = require(average, "average", at_least=0, at_most=1 - 1e-6)
        if problem.rho != problem.gamma:
            raise InputError("problem: rho belongs to the solver here: give it as rho=...")
        if any(penalty.ridge != 0.0 for penalty in problem.state_penalties):
            raise InputError(
                "state_penalty: states do not last from batch to batch, so that a penalty on "
                "them has no meaning; use ThreeSplitting, or penalise weights"
            )
        self.device: Device
        self.dtype, self.device = Execution.of(execution, where).start()
        self.step_unit = step_unit_for(problem, self.device, step_unit)
        check_layers(problem, self.device)
        self.augment = Augmentation.of(augment, problem.layers[0], self.device)
        self.noise = Noise.of(problem, self.device, dropout, input_noise)
        self.dropout = 0.0 if self.noise is None else self.noise.dropout
        self.input_noise = 0.0 if self.noise is None else self.noise.inputs

    def settings(self, n: int) -> Settings:
        """Return batch size, step size, momentum, damping and rank of a run on n samples."""
        given = (self.batch_size, self.step_size, self.momentum, self.damping, self.rank)
        return settings_for(self.problem, n, *given, step_unit=self.step_unit)

    def passes(self, n: int) -> int:
        """Return the default number of passes of `fit` over n samples."""
        return passes_for(n, self.settings(n).batch_size)

    def init(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        seed: int = 0,
        passes: int | None = None,
        length: int | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> MiniBatchState:
        """Return the state before the first batch: random weights, scaled to ``rms(U_l) = 1``.

        Parameters
        ----------
        X : (n, d_0) array
            A memory-mapped array is read a batch at a time. It may be a sparse matrix of SciPy if
            the first layer is dense: no part of it becomes a dense array.
        Y : (n, d_L) array
            Targets; for classification one-hot rows, see `fastbcd.one_hot`.
        seed : int
            Seed of weights and shuffling.
        passes : int, optional
            The schedule ends after so many passes; default: 10, or as many as make 1200 batches.
        length : int, optional
            The schedule ends after so many batches, for `partial_fit`; default: those of `passes`.
        sample_weight : (n,) array, optional
            Weights >= 0 of samples, relative to their mean. Default: equal weights.

        Raises
        ------
        InputError
            Shapes do not fit the problem, there are no samples, X or Y has NaN or infinity, or
            weights are negative or all zero.
        """
        problem, device = self.problem, self.device
        data = checked_data(problem, device, taken_sparse(self, X), Y, sample_weight)
        settings = self.settings(data.n)
        length = self._length(passes, length, data.n, settings.batch_size)
        return first_state(
            problem,
            device,
            self.dtype,
            data,
            settings,
            output_rank=self.output_rank,
            spectral=self.step_unit == "spectral",
            nesterov=self.nesterov,
            length=length,
            seed=seed,
            averages=self.average > 0.0,
        )

    def _length(self, passes: int | None, length: int | None, n: int, batch_size: int) -> int:
        """Return the number of batches after which the schedule ends."""
        passes = self.passes(n) if passes is None else passes
        passes = require_integer(passes, "passes", at_least=0)
        length = passes * n_batches(n, batch_size) if length is None else length
        return require_integer(length, "length", at_least=0)

    def rows(self, n: int) -> slice:
        """Return this rank's share of `n` samples, all shares being equal; all without `comm`."""
        return self.device.ranks.rows(n)

    def blank(
        self, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> MiniBatchState:
        """Return a state that a checkpoint can be loaded into; parameters as for `init`."""
        return self.init(X, Y, sample_weight=sample_weight)

    def step(self, state: MiniBatchState) -> MiniBatchState:
        """Do one pass of `state` over all samples, in place, in batches of a new random order.

        Raises
        ------
        InputError
            The schedule has ended; a batch of a memory-mapped file holds NaN or infinity.
        """
        self._make_own(state)
        if state.clock is not None:
            state.clock.clear()
        weight = state.sample_weight
        with self.device.session():
            # All ranks have the same order; each takes its own samples of a batch.
            batches = []
            for rows in shuffled_batches(state.n_total, state.settings.batch_size, state.rng):
                own = rows_here(rows, state.first, state.n)
                samples = Samples.of(state.X, state.Y, self.problem.loss, own, weight)
                before = int(np.searchsorted(rows, state.first))
                samples = replace(samples, total=len(rows), before=before)
                batches.append(self._varied(state, samples))
            numbers = [step_scalars(self, state, samples, k) for k, samples in enumerate(batches)]
            launches = state.cache.launches
            for samples, of_batch in self.device.batches.planned(launches, batches, numbers):
                self._learn(state, samples, of_batch)
                for array in (state.X, state.Y):  # what was read may leave memory
                    self.device.storage.drop_mapping(array)
            # Rounding may differ between the machines of the ranks; weights must not.
            for arrays in (state.W, state.mean_W, state.S):
                for array in arrays[1:]:
                    self.device.same_on_all_ranks(array)
        state.iteration += 1
        return state

    def partial_fit(
        self,
        state: MiniBatchState,
        X: ArrayLike,
        Y: ArrayLike,
        sample_weight: ArrayLike | None = None,
    ) -> MiniBatchState:
        """Do the sweep of one batch on `state`, in place: X (m, d_0), Y (m, d_L), any m.

        `sample_weight` (m,) is not divided by its mean: a batch of weights 2 moves W twice as far
        as one of weights 1. With the units "output" and "spectral" it only counts twice in the
        momentum.

        On a stream `init` sees the first samples only. So give the solver its `batch_size`, and
        either give `init` the `length` or give the solver ``schedule="constant"``.

        Raises
        ------
        InputError
            X or Y do not fit the problem, weights are too large for `dtype`, or the schedule has
            ended.
        FloatingPointError
            States are not finite any more. The weights of `state` stay those before this batch.
        """
        X = taken_sparse(self, X)
        samples = checked_batch(self.problem, self.device, X, Y, sample_weight, self.dtype)
        self._make_own(state)
        with self.device.session():
            samples = self._varied(state, samples).on(self.device)
            self._learn(state, samples, step_scalars(self, state, samples))
        return state

    def _make_own(self, state: MiniBatchState) -> None:
        """Make the arrays of `state` writable, which they may not be after a read from a file."""
        if not self.average:
            state.mean_W[1:] = state.W[1:]  # joblib makes two arrays of one
        state.make_own()

    def _varied(self, state: MiniBatchState, samples: Samples) -> Samples:
        """Return `samples` with random moves of their images, and the seed of the batch's noise.

        Every rank draws the moves of the batch of all ranks, and takes those of its own samples.
        """
        if self.noise is not None:
            samples = replace(samples, noise_seed=int(state.rng.integers(2**63)))
        if self.augment is None:
            return samples
        moves = self.augment.draw(state.rng, samples.of_all_ranks)
        return replace(samples, moves=Moves(self.augment, moves[samples.own]))

    def _learn(self, state: MiniBatchState, samples: Samples, numbers: StepScalars) -> None:
        """Do the sweep of one batch."""
        if state.batches >= state.length and self.schedule(1.0) == 0.0:
            raise InputError(
                f"state: its schedule ended after {state.length} batches; give init more passes, "
                'or the solver schedule="constant"'
            )
        BatchSweep(self, state).learn(samples, numbers)
        state.batches += 1

    def objective(self, state: MiniBatchState) -> float:
        """Return F of `state`: the loss of all samples with the mean weights, plus ``r_l(W_l)``.

        States are consistent, so F has no couplings. Samples have their weights.
        """
        return objective(self.problem, self.device, state, network_of(self, state))

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        max_iter: int | None = None,
        seed: int = 0,
        callbacks: Iterable[Callback] = (),
        sample_weight: ArrayLike | None = None,
    ) -> Result:
        """Call `init`, then do `max_iter` passes, with `callbacks` after each; see `Result`.

        X, Y, seed and `sample_weight` are as for `init`. Default of `max_iter`: 10, or as many as
        make 1200 batches.
        """
        state = self.init(X, Y, seed=seed, passes=max_iter, sample_weight=sample_weight)
        if max_iter is None:
            max_iter = self.passes(state.n_total)
        return run(self, state, max_iter, callbacks)
