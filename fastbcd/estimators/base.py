"""The base of classifier and regressor: fit, partial_fit and outputs."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastbcd.data.augmentation import scale_padding
from fastbcd.data.validation import check_sample_weight, check_some_weight
from fastbcd.devices.tiles import even_size
from fastbcd.errors import InputError
from fastbcd.estimators.canonical import canonical
from fastbcd.estimators.fitting import Fitting
from fastbcd.estimators.interruption import run_until_interrupted
from fastbcd.estimators.samples import Array, Samples
from fastbcd.estimators.scaling import Scaling
from fastbcd.estimators.solvers import (
    MINI_BATCH,
    check_solver,
    make_solver,
    stops_early,
    worth_threads,
)
from fastbcd.estimators.stream import CallProgress, Stream, stream_solver
from fastbcd.estimators.unchanged import unchanged_on_error
from fastbcd.models.network import Network
from fastbcd.models.scaled_outputs import scaled_outputs
from fastbcd.solvers.continuation import continue_from
from fastbcd.solvers.mini_batch.inputs import mean_one
from fastbcd.solvers.mini_batch.schedule import SCHEDULES
from fastbcd.support.floating_point import own_errstate, own_errstate_in
from fastbcd.support.parameters import check_dtype, choice, flag, plain


def takes_streams(estimator: Any) -> bool:
    """Return True if `estimator` has `partial_fit`, else raise an `AttributeError`."""
    solver = plain(estimator.solver)
    if not isinstance(solver, str) or solver != MINI_BATCH:
        raise AttributeError(
            f"partial_fit needs solver={MINI_BATCH!r}; {solver!r} needs all samples at once"
        )
    return True


@own_errstate_in
class BaseBCD(Fitting):
    """Base of `BCDClassifier`, whose docstring describes the parameters, and `BCDRegressor`."""

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Train on X (n, d), y (n,) or, for several outputs or labels, (n, k).

        Parameters
        ----------
        X : (n, d) array
            Numbers. It may be a pandas DataFrame, whose column names are kept. With `layers` it may
            be images, (n, H, W, C) or (n, H, W). For mini-batches it may be a sparse matrix of
            SciPy, of which no dense copy is made.
        y : array
        sample_weight : (n,) array, optional
            One number is for all. A sample of weight 2 counts as two samples, and one of weight 0
            as none, to the last bit. A class whose samples all have weight 0 does not exist.

        Returns
        -------
        self
            Ctrl-C ends training with a warning and the weights so far, as in scikit-learn's
            networks. Before anything is learned, it is a `KeyboardInterrupt`, and the estimator
            stays unchanged.

        Raises
        ------
        InputError
            A `ValueError` that names the parameter or the data, and the remedy.
        """
        with unchanged_on_error(self):
            interrupted = self._fit(X, y, sample_weight)
        if interrupted:
            # Outside the block: if the warning is an error, the estimator still is fitted.
            warnings.warn(
                f"fit was interrupted: the weights are those so far, after {self.n_iter_} whole "
                "passes; warm_start=True goes on from them",
                stacklevel=2,
            )
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = plain(self.solver) == MINI_BATCH
        return tags

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> bool:
        """Train, and return whether Ctrl-C ended it."""
        mini_batch = check_solver(self.get_params(deep=False))
        previous = getattr(self, "model_", None) if flag(self.warm_start, "warm_start") else None
        samples, merged = self._samples(X, y, sample_weight, previous is not None, mini_batch)
        seed = self._seed()
        held_out: Samples | None = None
        if stops_early(self.early_stopping):
            train, test = self._split(samples.codes, seed, merged)
            held_out, samples = samples.take(test), samples.take(train)
            self._check_kept(samples.codes)
        scaling = self._scale(previous, samples, all_at_once=True)
        weight = self._with_class_weight(samples.codes, samples.weight)
        Z, Y = self._scaled(samples, scaling, check_dtype(self.dtype))
        if previous is None:
            self._of_trials = self._chosen(Z, Y, weight, samples.codes, seed)
        parameters = self._with_chosen(self._parameters())
        solver = make_solver(parameters, Z.shape[1], Y.shape[1], samples=len(Z))
        scale_padding(solver, scaling.inputs)
        max_iter = self._iterations(solver, len(Z), parameters["max_iter"])
        passes: dict[str, Any] = {"passes": max_iter} if mini_batch else {}
        state: Any = solver.init(Z, Y, seed=seed, sample_weight=weight, **passes)
        if previous is not None and not scaling.begins(self._scaling):
            continue_from(solver, state, previous.network.W)
        self._scaling = scaling
        validation = None
        if held_out is not None:
            validation = *self._scaled(held_out, scaling, solver.dtype), held_out.weight
        callbacks = self._callbacks(solver, validation)
        result, interrupted = run_until_interrupted(solver, state, max_iter, callbacks)
        self._keep(result, scaling, go_on=previous is not None)
        self._keep_scores(result, callbacks)
        self._stream = None
        return interrupted

    def _samples(
        self, X: Any, y: Any, sample_weight: Any, go_on: bool, mini_batch: bool
    ) -> tuple[Samples, bool]:
        """Return validated samples for `_fit`, and whether equal ones were merged.

        Samples of weight 0 are left out. `go_on`: training goes on from a previous fit.
        """
        X, y = self._validate(X, y, reset=not go_on)
        weight = self._checked_weight(sample_weight, len(X))
        if weight is not None:
            # A power of two changes no digit, and keeps sums of large weights from overflow.
            weight = np.ldexp(weight, -np.frexp(weight.max())[1])
            if not weight.all():
                kept = weight > 0.0
                X, y, weight = X[kept], y[kept], weight[kept]
        samples, merged = Samples(X, self._encode(y, go_on=go_on), weight), False
        if mini_batch or self.device == "cpu" or mean_one(weight, len(X)) is not None:
            rows, weight = canonical(X, samples.codes, weight)
            merged = mini_batch or len(rows) < len(X)
            # Full batches keep the order of samples that all differ and have equal weights.
            if merged or weight is not None:
                samples = samples.take(rows)
        else:
            weight = None  # full batches on a GPU take no weights, so equal samples stay apart
        self._check_kept(samples.codes)
        return replace(samples, weight=weight), merged

    def _seed(self) -> int:
        return int(check_random_state(plain(self.random_state)).randint(2**31 - 1))

    def _scaled(self, samples: Samples, scaling: Scaling, dtype: Any) -> tuple[Array, Array]:
        """Return inputs and targets of the network."""
        targets = self._network_targets(samples.codes, scaling.targets)
        return scaling.inputs(samples.X, dtype), targets

    @staticmethod
    def _checked_weight(sample_weight: Any, n: int) -> Array | None:
        if sample_weight is None:
            return None
        weight = check_sample_weight(sample_weight, n)
        check_some_weight(weight)
        return weight

    @available_if(takes_streams)
    @own_errstate
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Train on a part of a stream, in the order given: `MiniBatchThreeSplitting.partial_fit`.

        The first call fixes the network and all parameters of the solver; later calls with others
        are refused. It also fits the scaling of inputs and targets. A column is scaled anew, by the
        last half of all samples or more, if it was constant so far, or if its size changes by a
        factor of 4. So the first part of a stream decides nothing forever. After `fit`, training
        goes on from there.

        X is split into batches of at most `batch_size` samples, by default 500. `momentum`,
        `damping` and `rank` follow from that size. The step size follows in each call from the
        actual size of its batches: a small part takes small steps, whenever it comes. It does not
        shrink with time, because a stream has no end. Predictions use the mean of weights over
        batches, see `average`.

        Parameters
        ----------
        X : (n, d) array
        y : array
        sample_weight : (n,) array, optional
            Weights are not scaled: 1 is the weight of a usual sample.

        Returns
        -------
        self

        Raises
        ------
        InputError
            As for `fit`; or a parameter differs from the first call, or has no meaning here: early
            stopping, which holds samples out, or a schedule other than constant.
        """
        return self._partial_fit(X, y, sample_weight, classes=None)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        with unchanged_on_error(self):
            return self._learn(X, y, sample_weight, classes)

    def _learn(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        self._check_stream_parameters()
        model: Any = getattr(self, "model_", None)
        X, y = self._validate(X, y, reset=model is None)
        codes = self._encode(y, go_on=model is not None, stream=True, classes=classes)
        if model is None and len(X) < 2:
            raise InputError("X has 1 sample, but the first call fixes the scaling: give it more")
        samples = Samples(X, codes, self._checked_weight(sample_weight, len(X)))
        scaling, raw = self._scale(model, samples), self._raw(codes)
        weight = self._with_class_weight(codes, samples.weight, stream=True)
        weighted = replace(samples, weight=weight)
        solver = stream_solver(self._parameters(), X.shape[1], raw.shape[1])
        stream = self._stream
        if stream is None:
            network = None if model is None else model.network
            stream = self._begin(solver, weighted, scaling, network)
        stream.check(solver, plain(self.preprocess))
        settings = solver.settings(len(X))
        stream.state.settings, stream.state.batch_loss = settings, np.zeros(2)
        verbose = flag(self.verbose, "verbose", levels=True)
        progress = CallProgress(solver, stream.state) if verbose else None
        size = even_size(len(X), settings.batch_size)
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            batch = weighted.take(rows)
            if model is not None:
                before, own = scaling, samples.take(rows)
                scaling = before.follow(own.X, raw[rows], own.weight)
                if scaling.begins(before):
                    last, stream = stream.state, self._begin(solver, batch, scaling, None)
                    stream.state.iteration, stream.state.settings = last.iteration, settings
                    stream.state.batch_loss = last.batch_loss
            state = stream.state
            if solver.problem.loss.in_target_units:
                state.output_unit = scaling.output_unit(state.output_unit)
            scale_padding(solver, scaling.inputs)
            solver.partial_fit(state, *self._scaled(batch, scaling, solver.dtype), batch.weight)
        self._stream, self._scaling = stream, scaling
        result = stream.end_of_call(solver)
        self._keep(result, scaling, go_on=model is not None)
        if progress is not None:
            progress.done(result)
        return self

    def _check_stream_parameters(self) -> None:
        """Raise an `InputError` for parameters that have no meaning in `partial_fit`."""
        schedule = None if self.schedule is None else choice(self.schedule, SCHEDULES, "schedule")
        if schedule not in (None, "constant"):
            raise InputError(
                f"schedule: partial_fit takes a stream without an end, for which {schedule!r} "
                "has no meaning; use constant, or leave it at None"
            )
        if stops_early(self.early_stopping):
            raise InputError(
                "early_stopping: partial_fit holds no samples out; score the estimator on some of "
                "your own, or leave early_stopping at False"
            )

    def _begin(
        self, solver: Any, samples: Samples, scaling: Scaling, network: Network | None
    ) -> Stream:
        """Begin a stream with these samples and the weights of `network`, or new weights."""
        Z, Y = self._scaled(samples, scaling, solver.dtype)
        state = solver.init(Z, Y, seed=self._seed(), passes=1, sample_weight=samples.weight)
        if network is not None:
            continue_from(solver, state, network.W)
        state.iteration = 0
        return Stream(state, solver, plain(self.preprocess))

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Compute the network's outputs (n, k) in float64, whatever `dtype` is.

        So the result for a row depends on the other rows of X only in negligible digits.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        weights = [W.astype(np.float64) for W in self.network_.W]
        before = self.network_
        network = Network(weights, before.activations, before.residual, before.layers)
        n_threads = self.n_threads
        if n_threads is None and not worth_threads(network.layers, len(X)):
            n_threads = 1
        return scaled_outputs(network, self.model_.preprocessing, X, np.float64, n_threads)
