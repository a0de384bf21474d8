"""The pieces of training: what is held out, scaled, watched and kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data

from fastbcd.callbacks import BatchLoss, EarlyStopping, Objective, Progress
from fastbcd.data.inputs import Inputs
from fastbcd.data.preprocessing import PREPROCESSINGS, Preprocessing
from fastbcd.data.validation import check_present
from fastbcd.errors import InputError
from fastbcd.estimators.parameters import Parameters
from fastbcd.estimators.scaling import Scaling
from fastbcd.estimators.score import ValidationScore
from fastbcd.estimators.solvers import MINI_BATCH, check_fraction, hidden_widths
from fastbcd.models.model import Model
from fastbcd.solvers.defaults import ITERATIONS, AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.support.parameters import choice, flag, plain, require_integer
from fastbcd.training.loop import Callback, Result

Array = NDArray[Any]

# What a model knows of its targets.
TARGETS = ("classes", "target_shift", "target_scale")


class Fitting(Parameters):
    """What `BaseBCD` trains with, and what classifier and regressor fill in."""

    classes_: Array
    """Of a classifier."""
    _scaling: Scaling
    """Of the last fit or partial_fit."""

    # -- what classifier and regressor differ in ------------------------------------------------

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        """X (n, d) and y (n, ...) as arrays, checked."""
        raise NotImplementedError

    def _encode(self, y: Array, go_on: bool, stream: bool = False, classes: Any = None) -> Array:
        """Targets (n, c), numbers, of validated y; sets what follows from y.

        `go_on`: to a network that is there; `stream`: for partial_fit, which has `classes`.
        """
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

    def _raw(self, codes: Array) -> Array:
        """Targets (n, k), not scaled."""
        raise NotImplementedError

    def _score(self, outputs: Array, Y: Array, weight: Array | None) -> float:
        """Accuracy or R^2 of outputs (n, k) of the network, for its targets Y."""
        raise NotImplementedError

    def _validated(self, X: Any, *y: Any, reset: bool, **more: Any) -> Any:
        """`validate_data` of X, or X and y, and of the kind of X's numbers.

        X must be of the kind that the scaling was fitted to; `reset`: this is that kind.
        """
        try:
            checked = validate_data(self, X, *y, reset=reset, **more)
        except TypeError:  # of what neither NumPy nor scikit-learn can look at: pandas' NA
            for name, array in zip(("X", "y"), (X, *y), strict=False):
                check_present(array, name)
            raise
        A = checked[0] if y else checked
        if A.dtype.kind in "mM":  # which scikit-learn lets pass
            raise InputError(f"X must hold numbers only, got {A.dtype}")
        self._check_kind(A, reset)
        return checked

    def _check_kind(self, X: Array, reset: bool) -> None:
        if reset:
            self._input_kind: str | None = X.dtype.kind
        else:
            Inputs(X.shape[1], kind=getattr(self, "_input_kind", None)).check_kind(X)

    # -- pieces of `fit` and `partial_fit` --------------------------------------------------------

    def _split(self, codes: Array, seed: int, merged: bool) -> tuple[Array, Array]:
        """Rows to train on and rows held out; equal samples have been `merged`, or not."""
        fraction = check_fraction(self.validation_fraction)
        labels = codes[:, 0] if is_classifier(self) else None
        rows = np.arange(len(codes))
        what = "different samples (equal ones are one)" if merged else "samples"
        if labels is not None:
            self._check_split(labels, what)
        try:
            train, test = train_test_split(
                rows, test_size=fraction, stratify=labels, random_state=seed
            )
        except ValueError:
            parts = "two parts" if labels is None else "two parts with all classes in each"
            raise InputError(
                f"early_stopping: validation_fraction={fraction} of {len(rows)} {what} does not "
                f"leave {parts}; another fraction, more samples, or early_stopping=False would do"
            ) from None
        if len(test) < 2:
            raise InputError(
                f"validation_fraction: {fraction} of {len(codes)} {what} is one alone; more are "
                "needed"
            )
        return np.sort(train), np.sort(test)

    def _check_split(self, labels: Array, what: str) -> None:
        """`InputError` for a class, of indices `labels` (n,), that is not there twice."""
        there, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            label = self.classes_[there[counts.argmin()]]
            raise InputError(
                f"early_stopping: the class {label!s} needs two {what}, one to train on and one to "
                "hold out, but has 1; give it more, or early_stopping=False"
            )

    def _scale(
        self,
        previous: Model | None,
        X: Array,
        codes: Array,
        weight: Array | None,
        all_at_once: bool = False,
    ) -> Scaling:
        """Of inputs and targets: fitted to these samples, or that of the run that goes on.

        With `all_at_once` the latter follows what these samples show; a stream's does so by parts.
        """
        if previous is None:
            inputs = Preprocessing.fit(X, self.preprocess, weight)
            targets = self._fit_targets(codes, weight)
            return Scaling.of(
                *(inputs, targets, plain(self.preprocess), X, self._raw(codes), weight)
            )
        hidden = hidden_widths(self.hidden_layer_sizes)
        widths = (X.shape[1], *hidden, previous.network.widths[-1])
        if widths != previous.network.widths:
            raise InputError(
                f"hidden_layer_sizes: the network so far has widths {previous.network.widths}, "
                f"but now they should be {widths}; fit a new estimator"
            )
        before = getattr(self, "_scaling", None)
        if before is None:  # pickled by an earlier version: these samples stand for all before
            targets = {name: getattr(previous, name) for name in TARGETS}
            before = self._scaling = Scaling.of(
                *(
                    previous.preprocessing,
                    targets,
                    plain(self.preprocess),
                    X,
                    self._raw(codes),
                    weight,
                )
            )
        if choice(self.preprocess, PREPROCESSINGS, "preprocess") != before.kind:
            raise InputError(
                f"preprocess: the run so far has {before.kind!r}, and goes on with it; set it "
                "back, or fit a new estimator"
            )
        return before.follow(X, self._raw(codes), weight) if all_at_once else before

    def _iterations(self, solver: AnySolver, n: int) -> int:
        if self.max_iter is not None:
            return require_integer(self.max_iter, "max_iter", at_least=1)
        if isinstance(solver, MiniBatchThreeSplitting):
            return solver.passes(n)
        return ITERATIONS

    def _callbacks(self, solver: AnySolver, held_out: Any) -> list[Callback]:
        mini_batch = isinstance(solver, MiniBatchThreeSplitting)
        callbacks: list[Callback] = [BatchLoss() if mini_batch else Objective()]
        if held_out is not None:
            X, Y, weight = held_out
            callbacks.append(ValidationScore(X, lambda outputs: self._score(outputs, Y, weight)))
            callbacks.append(EarlyStopping("validation_score", self.n_iter_no_change, self.tol))
        if flag(self.verbose, "verbose", levels=True):
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
            loss=getattr(self.loss, "name", plain(self.loss)),
            input_kind=getattr(self, "_input_kind", None),
            **targets,
        )
        self.network_ = network
        quantity = "batch_loss" if self.solver == MINI_BATCH else "objective"
        # After Ctrl-C the last record may lack it, and there may be none.
        curve: list[float] = [row[quantity] for row in result.history if quantity in row]
        best = min(curve, default=math.inf)
        if go_on:  # in place: a stream has no end, and each part of it is to cost the same
            known = self.best_loss_
            best = min(best, min(self.loss_curve_, default=math.inf) if known is None else known)
            self.loss_curve_.extend(curve)
        else:
            self.loss_curve_: list[float] = curve
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else math.inf
        self.n_iter_ = len(self.loss_curve_)
        self.n_layers_ = len(network.widths)
        self.n_outputs_ = network.widths[-1]
        self.best_loss_: float | None = best
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None

    def _keep_scores(self, result: Result, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            if isinstance(callback, EarlyStopping):
                name = callback.monitor
                self.validation_scores_ = [row[name] for row in result.history if name in row]
                self.best_validation_score_, self.best_loss_ = callback.best, None
