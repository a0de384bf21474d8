"""What classifier and regressor share: parameters, fit, partial_fit, outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from fastbcd.callbacks import BatchLoss, EarlyStopping, Objective, Progress
from fastbcd.data.preprocessing import Preprocessing
from fastbcd.devices.tiles import even_size
from fastbcd.errors import InputError
from fastbcd.estimators.canonical import canonical
from fastbcd.estimators.score import ValidationScore
from fastbcd.estimators.solvers import (
    FULL_BATCH_ITERATIONS,
    MINI_BATCH,
    AnySolver,
    check_solver,
    hidden_widths,
    make_solver,
    worth_threads,
)
from fastbcd.estimators.start import continue_from
from fastbcd.fit import Callback, Result, network_of, run
from fastbcd.mini_batch import MiniBatchThreeSplitting
from fastbcd.mini_batch.batches import mean_one
from fastbcd.mini_batch.settings import USUAL_BATCH
from fastbcd.model import Model
from fastbcd.network import Network
from fastbcd.specification import require, require_integer
from fastbcd.validation import check_dtype, check_sample_weight

Array = NDArray[Any]


def takes_streams(estimator: Any) -> bool:
    """Whether it has `partial_fit`; an `AttributeError` that says why not."""
    if estimator.solver != MINI_BATCH:
        raise AttributeError(
            f"partial_fit needs solver={MINI_BATCH!r}; {estimator.solver!r} wants all samples at "
            "once"
        )
    return True


class BaseBCD(BaseEstimator):
    """Base of `BCDClassifier`, whose docstring describes the parameters, and `BCDRegressor`."""

    def __init__(
        self,
        hidden_layer_sizes: Any = (128, 128),
        activation: Any = "relu",
        *,
        loss: Any = "squared",
        solver: str = MINI_BATCH,
        residual: bool = False,
        gamma: float = 1.0,
        rho: float | None = None,
        proximal_weight: float | None = None,
        weight_penalty: Any = None,
        state_penalty: Any = None,
        batch_size: int | None = None,
        step_size: float | None = None,
        schedule: str | None = None,
        momentum: float | None = None,
        damping: float | None = None,
        rank: int | None = None,
        weight_decay: float | None = None,
        average: float | None = None,
        max_iter: int | None = None,
        preprocess: str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: str = "float32",
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.solver = solver
        self.residual = residual
        self.gamma = gamma
        self.rho = rho
        self.proximal_weight = proximal_weight
        self.weight_penalty = weight_penalty
        self.state_penalty = state_penalty
        self.batch_size = batch_size
        self.step_size = step_size
        self.schedule = schedule
        self.momentum = momentum
        self.damping = damping
        self.rank = rank
        self.weight_decay = weight_decay
        self.average = average
        self.max_iter = max_iter
        self.preprocess = preprocess
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.dtype = dtype
        self.n_threads = n_threads
        self.verbose = verbose

    # -- what classifier and regressor differ in ------------------------------------------------

    def _validate(
        self, X: Any, y: Any, reset: bool, stream: bool = False, classes: Any = None
    ) -> tuple[Array, Array]:
        """X (n, d) and targets (n, c), numbers; sets what follows from y."""
        raise NotImplementedError

    def _check_kept(self, codes: Array) -> None:
        """`InputError` where what is left of the samples cannot be learned from."""

    def _with_class_weight(
        self, codes: Array, weight: Array | None, stream: bool = False
    ) -> Array | None:
        """Weights of samples, times those of their classes."""
        return weight

    def _fit_targets(self, codes: Array, weight: Array | None) -> dict[str, Any]:
        """What `Model` has to know of the targets."""
        raise NotImplementedError

    def _network_targets(self, codes: Array, targets: dict[str, Any]) -> Array:
        """Y (n, k) for the network, `targets` being what `_fit_targets` gave."""
        raise NotImplementedError

    def _score(self, outputs: Array, Y: Array, weight: Array | None) -> float:
        """Accuracy or R^2 of outputs (n, k) of the network, for its targets Y."""
        raise NotImplementedError

    # -- training -------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Train on X (n, d), y (n,) or, for several outputs of a regressor, (n, k).

        Parameters
        ----------
        X : (n, d) array
            Dense numbers, a pandas DataFrame included; its column names are kept.
        y : array
        sample_weight : (n,) array, optional
            Mini-batches only. A weight of 2 is a sample that is there twice, one of 0 a sample
            that is not there, to the last bit.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Naming the parameter or the data, and what would be right.
        """
        mini_batch = check_solver(self.get_params(deep=False))
        previous = getattr(self, "model_", None) if self.warm_start else None
        known = previous is not None
        X, codes = self._validate(X, y, reset=not known)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(X))
        self._check_weight(weight)
        if mini_batch:
            rows, weight = canonical(X, codes, weight)
            X, codes = X[rows], codes[rows]
        elif mean_one(weight, len(X)) is not None:
            raise InputError(f"sample_weight: {self.solver} has no weights; use {MINI_BATCH}")
        else:
            weight = None
        self._check_kept(codes)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        held_out: Any = None
        if self.early_stopping:
            train, test = self._split(codes, seed)
            held_out = X[test], codes[test], None if weight is None else weight[test]
            X, codes = X[train], codes[train]
            weight = None if weight is None else weight[train]
            self._check_kept(codes)
        preprocessing, targets = self._preparations(previous, X, codes, weight)
        weight = self._with_class_weight(codes, weight)
        if not mini_batch and mean_one(weight, len(X)) is not None:
            raise InputError(f"class_weight: {self.solver} has no weights; use {MINI_BATCH}")
        Y = self._network_targets(codes, targets)
        Z = preprocessing(X, check_dtype(self.dtype))
        solver = make_solver(self.get_params(deep=False), Z.shape[1], Y.shape[1], samples=len(Z))
        max_iter = self._iterations(solver, len(Z))
        state: Any
        if isinstance(solver, MiniBatchThreeSplitting):
            state = solver.init(Z, Y, seed=seed, passes=max_iter, sample_weight=weight)
        else:
            state = solver.init(Z, Y, seed=seed)
        if previous is not None:
            continue_from(solver, state, previous.network)
        if held_out is not None:
            inputs = preprocessing(held_out[0], solver.dtype)
            held_out = inputs, self._network_targets(held_out[1], targets), held_out[2]
        callbacks = self._callbacks(solver, held_out)
        result = run(solver, state, max_iter, callbacks)
        self._keep(result, preprocessing, targets, go_on=known)
        self._keep_scores(result, callbacks)
        self._stream: Any = None
        return self

    @available_if(takes_streams)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Train on a part of a stream, in the order given: `MiniBatchThreeSplitting.partial_fit`.

        The first call fixes the scaling of inputs and targets and the network; after `fit` it
        goes on from there. X is taken in batches of at most `batch_size` samples, 500 unless
        given, and the step size is constant: a stream has no end. Predictions use the mean of
        weights over batches, see `average`.

        Parameters
        ----------
        X : (n, d) array
        y : array
        sample_weight : (n,) array, optional
            Taken as it is: 1 is the weight of a usual sample.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight, classes=None)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> Any:
        if self.schedule not in (None, "constant"):
            raise InputError(
                f"schedule: partial_fit takes a stream without an end, for which {self.schedule!r} "
                "has no meaning; use constant, or leave it at None"
            )
        model = getattr(self, "model_", None)
        X, codes = self._validate(X, y, reset=model is None, stream=True, classes=classes)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(X))
        self._check_weight(weight)
        preprocessing, targets = self._preparations(model, X, codes, weight)
        weight = self._with_class_weight(codes, weight, stream=True)
        Y = self._network_targets(codes, targets)
        Z = preprocessing(X, check_dtype(self.dtype))
        batch_size = self.batch_size or min(len(Z), USUAL_BATCH)
        solver = make_solver(
            self.get_params(deep=False),
            *(Z.shape[1], Y.shape[1], batch_size),
            batch_size=batch_size,
            schedule="constant",
        )
        assert isinstance(solver, MiniBatchThreeSplitting)
        state = getattr(self, "_stream", None)
        if state is None:
            seed = int(check_random_state(self.random_state).randint(2**31 - 1))
            state = solver.init(Z, Y, seed=seed, passes=1, sample_weight=weight)
            # Of these samples nothing is kept.
            state.X, state.Y, state.sample_weight = state.X[:1], state.Y[:1], None
            if model is not None:
                continue_from(solver, state, model.network)
            self._stream = state
        state.batch_loss = np.zeros(2)
        size = even_size(len(Z), batch_size)
        for start in range(0, len(Z), size):
            rows = slice(start, start + size)
            part = None if weight is None else weight[rows]
            solver.partial_fit(state, Z[rows], Y[rows], part)
        total, samples = state.batch_loss
        state.batch_loss, state.iteration = None, state.iteration + 1
        history = [{"iteration": state.iteration, "batch_loss": float(total / samples)}]
        result = Result(state, network_of(solver, state), history)
        self._keep(result, preprocessing, targets, go_on=model is not None)
        return self

    # -- pieces of it ---------------------------------------------------------------------------

    def _check_weight(self, weight: Array | None) -> None:
        if weight is not None and not weight.any():
            raise InputError("sample_weight is zero for every sample: nothing is left to learn")

    def _split(self, codes: Array, seed: int) -> tuple[Array, Array]:
        """Rows to train on and rows held out."""
        fraction = require(self.validation_fraction, "validation_fraction", at_least=0, at_most=1)
        if not 0.0 < fraction < 1.0:
            raise InputError(f"validation_fraction must lie between 0 and 1, got {fraction}")
        labels = codes[:, 0] if is_classifier(self) else None
        rows = np.arange(len(codes))
        train, test = train_test_split(rows, test_size=fraction, stratify=labels, random_state=seed)
        if len(test) < 2:
            raise InputError(
                f"validation_fraction: {fraction} of {len(codes)} samples is one alone; more are "
                "needed"
            )
        return np.sort(train), np.sort(test)

    def _preparations(
        self, previous: Model | None, X: Array, codes: Array, weight: Array | None
    ) -> tuple[Preprocessing, dict[str, Any]]:
        """Scaling of inputs and targets: of the run that goes on, or fitted to these samples."""
        if previous is None:
            return Preprocessing.fit(X, self.preprocess, weight), self._fit_targets(codes, weight)
        hidden = hidden_widths(self.hidden_layer_sizes)
        widths = (X.shape[1], *hidden, previous.network.widths[-1])
        if widths != previous.network.widths:
            raise InputError(
                f"hidden_layer_sizes: the network so far has widths {previous.network.widths}, "
                f"but now they should be {widths}; fit a new estimator"
            )
        targets = {
            "classes": previous.classes,
            "target_shift": previous.target_shift,
            "target_scale": previous.target_scale,
        }
        return previous.preprocessing, targets

    def _iterations(self, solver: AnySolver, n: int) -> int:
        if self.max_iter is not None:
            return require_integer(self.max_iter, "max_iter", at_least=1)
        if isinstance(solver, MiniBatchThreeSplitting):
            return solver.passes(n)
        return FULL_BATCH_ITERATIONS

    def _callbacks(self, solver: AnySolver, held_out: Any) -> list[Callback]:
        mini_batch = isinstance(solver, MiniBatchThreeSplitting)
        callbacks: list[Callback] = [BatchLoss() if mini_batch else Objective()]
        if held_out is not None:
            X, Y, weight = held_out
            callbacks.append(ValidationScore(X, lambda outputs: self._score(outputs, Y, weight)))
            callbacks.append(EarlyStopping("validation_score", self.n_iter_no_change, self.tol))
        if self.verbose:
            callbacks.append(Progress())
        return callbacks

    def _keep(
        self, result: Result, preprocessing: Preprocessing, targets: dict[str, Any], go_on: bool
    ) -> None:
        """What is known after training."""
        names = getattr(self, "feature_names_in_", None)
        network = result.network
        self.model_ = Model(
            network,
            preprocessing=preprocessing,
            feature_names=None if names is None else [str(name) for name in names],
            loss=getattr(self.loss, "name", self.loss),
            **targets,
        )
        self.network_ = network
        quantity = "batch_loss" if self.solver == MINI_BATCH else "objective"
        curve: list[float] = [record[quantity] for record in result.history]
        before: list[float] = self.loss_curve_ if go_on else []
        self.loss_curve_: list[float] = [*before, *curve]
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        self.n_layers_ = len(network.widths)
        self.n_outputs_ = network.widths[-1]
        self.best_loss_: float | None = min(self.loss_curve_)
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None

    def _keep_scores(self, result: Result, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            if isinstance(callback, EarlyStopping):
                self.validation_scores_ = [row["validation_score"] for row in result.history]
                self.best_validation_score_, self.best_loss_ = callback.best, None

    # -- prediction -----------------------------------------------------------------------------

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Outputs (n, k) of the network, in float64.

        In float64 whatever `dtype` is, so that what a row gets does not depend, in any digit that
        matters, on which rows it stands beside.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        weights = [W.astype(np.float64) for W in self.network_.W]
        network = Network(weights, self.network_.activations, self.network_.residual)
        n_threads = self.n_threads
        if n_threads is None and not worth_threads(network.widths, len(X)):
            n_threads = 1
        return network.forward(self.model_.preprocessing(X, np.float64), n_threads)
