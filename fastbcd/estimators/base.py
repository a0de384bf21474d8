"""What classifier and regressor share: fit, partial_fit, outputs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastbcd.data.validation import check_sample_weight, check_some_weight
from fastbcd.devices.tiles import even_size
from fastbcd.errors import InputError
from fastbcd.estimators.canonical import canonical
from fastbcd.estimators.fitting import Fitting
from fastbcd.estimators.interruption import run_until_interrupted
from fastbcd.estimators.solvers import MINI_BATCH, check_solver, make_solver, worth_threads
from fastbcd.estimators.start import continue_from
from fastbcd.estimators.stream import CallProgress, Stream, stream_solver
from fastbcd.estimators.unchanged import unchanged_on_error
from fastbcd.models.network import Network
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.batches import mean_one
from fastbcd.solvers.mini_batch.schedule import SCHEDULES
from fastbcd.support.floating_point import own_errstate, own_errstate_in
from fastbcd.support.parameters import check_dtype, choice, flag, plain
from fastbcd.training.loop import Result, network_of


def takes_streams(estimator: Any) -> bool:
    """Whether it has `partial_fit`; an `AttributeError` that says why not."""
    solver = plain(estimator.solver)
    if not isinstance(solver, str) or solver != MINI_BATCH:
        raise AttributeError(
            f"partial_fit needs solver={MINI_BATCH!r}; {solver!r} wants all samples at once"
        )
    return True


@own_errstate_in
class BaseBCD(Fitting):
    """Base of `BCDClassifier`, whose docstring describes the parameters, and `BCDRegressor`."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Train on X (n, d), y (n,) or, for several outputs of a regressor, (n, k).

        Parameters
        ----------
        X : (n, d) array
            Dense numbers, a pandas DataFrame included; its column names are kept.
        y : array
        sample_weight : (n,) array, optional
            Or one number for all. A weight of 2 is a sample that is there twice, one of 0 a sample
            that is not there, to the last bit; a class all of whose samples have it is none.

        Returns
        -------
        self
            After Ctrl-C with the weights so far, as scikit-learn's networks, and a warning; in its
            first moments, when nothing has been learned, `KeyboardInterrupt` leaves it as it was.

        Raises
        ------
        InputError
            A `ValueError`: names the parameter or the data, and what would be right.
        """
        with unchanged_on_error(self):
            interrupted = self._fit(X, y, sample_weight)
        if interrupted:
            # Only now: as an error, too, it leaves a fitted estimator.
            warnings.warn(
                f"fit was interrupted: the weights are those so far, after {self.n_iter_} whole "
                "passes; warm_start=True goes on from them",
                stacklevel=2,
            )
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> bool:
        """Whether Ctrl-C ended it."""
        mini_batch = check_solver(self.get_params(deep=False))
        previous = getattr(self, "model_", None) if flag(self.warm_start, "warm_start") else None
        known = previous is not None
        X, y = self._validate(X, y, reset=not known)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(X))
        if weight is not None:
            check_some_weight(weight)
            # By a power of two, which changes no digit: sums of large ones might overflow.
            weight = np.ldexp(weight, -np.frexp(weight.max())[1])
            if not weight.all():
                kept = weight > 0.0
                X, y, weight = X[kept], y[kept], weight[kept]
        codes = self._encode(y, go_on=known)
        merged = False
        if mini_batch or self.device == "cpu" or mean_one(weight, len(X)) is not None:
            rows, weight = canonical(X, codes, weight)
            merged = mini_batch or len(rows) < len(X)
            # Full batches keep the order of samples that are all different and count the same.
            if merged or weight is not None:
                X, codes = X[rows], codes[rows]
        else:
            weight = None  # a GPU has none in full batches: there equal samples stay apart
        self._check_kept(codes)
        seed = int(check_random_state(plain(self.random_state)).randint(2**31 - 1))
        held_out: Any = None
        if flag(self.early_stopping, "early_stopping"):
            train, test = self._split(codes, seed, merged)
            held_out = X[test], codes[test], None if weight is None else weight[test]
            X, codes = X[train], codes[train]
            weight = None if weight is None else weight[train]
            self._check_kept(codes)
        scaling = self._scale(previous, X, codes, weight, all_at_once=True)
        preprocessing, targets = scaling.inputs, scaling.targets
        weight = self._with_class_weight(codes, weight)
        Y = self._network_targets(codes, targets)
        Z = preprocessing(X, check_dtype(self.dtype))
        solver = make_solver(self.get_params(deep=False), Z.shape[1], Y.shape[1], samples=len(Z))
        max_iter = self._iterations(solver, len(Z))
        state: Any
        if isinstance(solver, MiniBatchThreeSplitting):
            state = solver.init(Z, Y, seed=seed, passes=max_iter, sample_weight=weight)
        else:
            state = solver.init(Z, Y, seed=seed, sample_weight=weight)
        if previous is not None and not scaling.begins(self._scaling):
            continue_from(solver, state, previous.network)
        self._scaling = scaling
        if held_out is not None:
            inputs = preprocessing(held_out[0], solver.dtype)
            held_out = inputs, self._network_targets(held_out[1], targets), held_out[2]
        callbacks = self._callbacks(solver, held_out)
        result, interrupted = run_until_interrupted(solver, state, max_iter, callbacks)
        self._keep(result, preprocessing, targets, go_on=known)
        self._keep_scores(result, callbacks)
        self._stream: Any = None
        return interrupted

    @available_if(takes_streams)
    @own_errstate
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Train on a part of a stream, in the order given: `MiniBatchThreeSplitting.partial_fit`.

        The first call fixes the network and all parameters of the solver: later ones refuse
        others. It scales inputs and targets, too; a column that was constant so far, or turns out
        to be of another size by a factor of 4, is scaled anew, by the last half of all samples or
        more, so that no first part decides for ever. After `fit` it goes on from there. X is taken
        in batches of at most `batch_size` samples, 500 unless given. `momentum`, `damping` and
        `rank` follow from that size, the step size in each call from the size that its batches
        have in fact: a small part takes a small step, and it does not matter which comes first.
        It does not shrink with time, as a stream has no end. Predictions use the mean of weights
        over batches, see `average`.

        Parameters
        ----------
        X : (n, d) array
        y : array
        sample_weight : (n,) array, optional
            Taken as it is: 1 is the weight of a usual sample.

        Returns
        -------
        self

        Raises
        ------
        InputError
            As `fit`; a parameter is not what it was in the first call, or means nothing here:
            early stopping, for which nothing is held out, and another schedule than constant.
        """
        return self._partial_fit(X, y, sample_weight, classes=None)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        with unchanged_on_error(self):
            return self._learn(X, y, sample_weight, classes)

    def _learn(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        schedule = None if self.schedule is None else choice(self.schedule, SCHEDULES, "schedule")
        if schedule not in (None, "constant"):
            raise InputError(
                f"schedule: partial_fit takes a stream without an end, for which {schedule!r} "
                "has no meaning; use constant, or leave it at None"
            )
        if flag(self.early_stopping, "early_stopping"):
            raise InputError(
                "early_stopping: partial_fit holds no samples out; score the estimator on some of "
                "your own, or leave early_stopping at False"
            )
        model: Any = getattr(self, "model_", None)
        X, y = self._validate(X, y, reset=model is None)
        codes = self._encode(y, go_on=model is not None, stream=True, classes=classes)
        if model is None and len(X) < 2:
            raise InputError("X has 1 sample, but the first call fixes the scaling: give it more")
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(X))
        if weight is not None:
            check_some_weight(weight)
        scaling = self._scale(model, X, codes, weight)
        own_weight, weight = weight, self._with_class_weight(codes, weight, stream=True)
        raw, dtype = self._raw(codes), check_dtype(self.dtype)
        solver = stream_solver(self.get_params(deep=False), X.shape[1], raw.shape[1])
        preprocess = plain(self.preprocess)
        stream: Any = getattr(self, "_stream", None)

        def begin(rows: slice, network: Network | None) -> Stream:
            """A stream whose first samples are these, with the weights of `network` or new ones."""
            Z, Y = (
                scaling.inputs(X[rows], dtype),
                self._network_targets(codes[rows], scaling.targets),
            )
            seed = int(check_random_state(plain(self.random_state)).randint(2**31 - 1))
            part = None if weight is None else weight[rows]
            state = solver.init(Z, Y, seed=seed, passes=1, sample_weight=part)
            if network is not None:
                continue_from(solver, state, network)
            state.iteration = 0 if stream is None else stream.state.iteration
            state.settings, state.batch_loss = solver.settings(len(X)), np.zeros(2)
            return Stream(state, solver, preprocess)

        if stream is None:
            stream = begin(slice(None), None if model is None else model.network)
        stream.check(solver, preprocess)
        state = stream.state
        state.settings, state.batch_loss = solver.settings(len(X)), np.zeros(2)
        progress = (
            CallProgress(solver, state) if flag(self.verbose, "verbose", levels=True) else None
        )
        size = even_size(len(X), state.settings.batch_size)
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            if model is not None:
                before, part = scaling, None if own_weight is None else own_weight[rows]
                scaling = before.follow(X[rows], raw[rows], part)
                if scaling.begins(before):
                    losses, stream = state.batch_loss, begin(rows, None)
                    state = stream.state
                    state.batch_loss = losses
            if solver.problem.loss.name == "squared":
                state.output_unit = scaling.output_unit(state.output_unit)
            Z, Y = (
                scaling.inputs(X[rows], dtype),
                self._network_targets(codes[rows], scaling.targets),
            )
            solver.partial_fit(state, Z, Y, None if weight is None else weight[rows])
        self._stream, self._scaling = stream, scaling
        total, samples = state.batch_loss
        state.batch_loss, state.iteration = None, state.iteration + 1
        history = [{"iteration": state.iteration, "batch_loss": float(total / samples)}]
        result = Result(state, network_of(solver, state), history)
        self._keep(result, scaling.inputs, scaling.targets, go_on=model is not None)
        if progress is not None:
            progress.done(result)
        return self

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Outputs (n, k) of the network, in float64.

        In float64 whatever `dtype` is, so that what a row gets does not depend, in any digit that
        matters, on which rows it stands beside.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        weights = [W.astype(np.float64) for W in self.network_.W]
        before = self.network_
        network = Network(weights, before.activations, before.residual, before.layers)
        n_threads = self.n_threads
        if n_threads is None and not worth_threads(network.widths, len(X)):
            n_threads = 1
        return network.forward(self.model_.preprocessing(X, np.float64), n_threads)
