"""The steps of training: validation, held-out samples, scaling, callbacks and attributes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import validate_data

from fastbcd.callbacks import BatchLoss, EarlyStopping, Objective, Progress
from fastbcd.callbacks.held_out import HeldOut
from fastbcd.data.inputs import Inputs
from fastbcd.data.moments import binary_columns
from fastbcd.data.preprocessing import PREPROCESSINGS, Preprocessing
from fastbcd.data.sparse import is_sparse, sparse_rows
from fastbcd.data.validation import check_present
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.errors import InputError
from fastbcd.estimators.images import Shape, checked_shape, image_rows
from fastbcd.estimators.parameters import Parameters
from fastbcd.estimators.samples import Array, Samples
from fastbcd.estimators.scaling import Scaling
from fastbcd.estimators.solvers import AUTO, MINI_BATCH, check_fraction, make_layers, make_solver
from fastbcd.models.model import Model
from fastbcd.solvers.defaults import ITERATIONS, AnySolver
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.support.parameters import choice, flag, loss_name, plain, require_integer
from fastbcd.training.loop import Callback, Result
from fastbcd.trials import CHOSEN, chosen_by_trials, have_trials

# Arguments of `Model` that describe the targets.
TARGETS = ("classes", "multi_label", "target_shift", "target_scale")


class Fitting(Parameters):
    """The steps of `BaseBCD`, and methods that classifier and regressor define."""

    classes_: Array
    """Classes of a classifier."""
    _scaling: Scaling
    """Scaling of the last fit or partial_fit."""
    # Pickles of earlier versions lack these.
    _image_shape: Shape | None = None
    """(H, W, C) of the inputs, if they are images."""
    _input_kind: str | None = None
    """The kind of the inputs' type."""
    _stream: Any = None
    """The stream of partial_fit; None unless it was called last."""
    _multi_label: bool = False
    """Whether a classifier's samples have any number of labels."""

    # -- methods that classifier and regressor define -----------------------------------------

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        """Check X (n, d) and y (n, ...), and return them as arrays."""
        raise NotImplementedError

    def _encode(self, y: Array, go_on: bool, stream: bool = False, classes: Any = None) -> Array:
        """Return targets (n, c), numbers, of validated y; set the attributes that follow from y.

        With `go_on` there is a network already. `stream` and `classes` are for partial_fit.
        """
        raise NotImplementedError

    def _check_kept(self, codes: Array) -> None:
        """Raise an `InputError` if nothing can be learned from the samples that are left."""

    def _with_class_weight(
        self, codes: Array, weight: Array | None, stream: bool = False
    ) -> Array | None:
        """Return the weights of samples, times those of their classes."""
        return weight

    def _fit_targets(self, codes: Array, weight: Array | None) -> dict[str, Any]:
        """Return the arguments of `Model` that describe the targets."""
        raise NotImplementedError

    def _network_targets(self, codes: Array, targets: dict[str, Any]) -> Array:
        """Return Y (n, k) for the network; `targets` is a result of `_fit_targets`."""
        raise NotImplementedError

    def _raw(self, codes: Array) -> Array:
        """Return targets (n, k) in their own units."""
        raise NotImplementedError

    def _score(self, outputs: Array, Y: Array, weight: Array | None) -> float:
        """Return the accuracy or R^2 of the network's outputs (n, k) for targets Y (n, k)."""
        raise NotImplementedError

    def _validated(self, X: Any, *y: Any, reset: bool, **more: Any) -> Any:
        """Call `validate_data` for X, or X and y, and check the kind of X's numbers.

        It must be the kind to which the scaling was fitted; with `reset` it becomes that kind.
        Images become rows, and must have the same shape as in training. Sparse X becomes
        `SparseRows`, if mini-batches or a trained network are to take it.
        """
        if is_sparse(X):
            more["ensure_all_finite"] = False  # our own check names row and column
        if self.layers is not None:
            X = self._rows(X, reset)
        elif reset:
            self._image_shape = checked_shape(self.image_shape)
        try:
            checked = validate_data(self, X, *y, reset=reset, accept_sparse="csr", **more)
        except TypeError:  # NumPy and scikit-learn cannot compare pandas' NA
            for name, array in zip(("X", "y"), (X, *y), strict=False):
                check_present(array, name)
            raise
        A = checked[0] if y else checked
        if is_sparse(A):
            if y and plain(self.solver) != MINI_BATCH:
                raise InputError(
                    f"X is sparse, but solver {self.solver!r} needs dense samples; use solver="
                    f"{MINI_BATCH!r}, or give X.toarray()"
                )
            A = sparse_rows(A, "X")
            checked = (A, *checked[1:]) if y else A
        if A.dtype.kind in "mM":  # scikit-learn accepts dates
            raise InputError(f"X must hold numbers only, got {A.dtype}")
        if reset:
            self._input_kind = A.dtype.kind
        else:
            Inputs(A.shape[1], kind=self._input_kind).check_kind(A)
        return checked

    def _rows(self, X: Any, reset: bool) -> Any:
        """Return X as rows, and keep the shape of images, or compare it with that in training."""
        given = checked_shape(self.image_shape)
        if reset:
            X, self._image_shape = image_rows(X, given, trained=False)
            return X
        trained = self._image_shape
        if given is not None and given != trained:
            raise InputError(
                f"image_shape is {given}, but the network was trained on images of shape {trained}"
            )
        return image_rows(X, trained, trained=True)[0]

    def _parameters(self) -> dict[str, Any]:
        """Return the parameters of the solver, with the shape of images that X has."""
        return self.get_params(deep=False) | {"image_shape": self._image_shape}

    # -- steps of `fit` and `partial_fit` ---------------------------------------------------------

    def _split(self, codes: Array, seed: int, merged: bool) -> tuple[Array, Array]:
        """Return rows to train on and rows to hold out; `merged`: equal samples are one."""
        fraction = check_fraction(self.validation_fraction)
        labels = codes[:, 0] if is_classifier(self) and not self._multi_label else None
        rows = np.arange(len(codes))
        kind = "different samples (equal ones are one)" if merged else "samples"
        if labels is not None:
            self._check_split(labels, kind)
        try:
            train, test = train_test_split(
                rows, test_size=fraction, stratify=labels, random_state=seed
            )
        except ValueError:
            parts = "two parts" if labels is None else "two parts with all classes in each"
            raise InputError(
                f"early_stopping: validation_fraction={fraction} of {len(rows)} {kind} does not "
                f"leave {parts}; change it, give more samples, or set early_stopping=False"
            ) from None
        if len(test) < 2:
            raise InputError(
                f"validation_fraction: {fraction} of {len(codes)} {kind} is only one; more are "
                "needed"
            )
        return np.sort(train), np.sort(test)

    def _check_split(self, labels: Array, kind: str) -> None:
        """Raise an `InputError` for a class, of indices `labels` (n,), with one sample only."""
        there, counts = np.unique(labels, return_counts=True)
        if counts.min() < 2:
            label = self.classes_[there[counts.argmin()]]
            raise InputError(
                f"early_stopping: the class {label!s} needs two {kind}, one to train on and one to "
                "hold out, but has 1; give it more, or early_stopping=False"
            )

    def _scale(
        self, previous: Model | None, samples: Samples, all_at_once: bool = False
    ) -> Scaling:
        """Fit the scaling to these samples, or go on with that of the `previous` run.

        With `all_at_once` the latter follows these samples; in a stream it follows its batches.
        """
        X, raw, weight = samples.X, self._raw(samples.codes), samples.weight
        if previous is None:
            channels = None if self._image_shape is None else self._image_shape[-1]
            inputs = Preprocessing.fit(X, self.preprocess, weight, channels=channels)
            kind = plain(self.preprocess)
            shifted = not isinstance(X, SparseRows) and X.dtype.kind != "u"
            if kind == "auto" and channels is None and shifted:
                inputs = inputs.keeping(binary_columns(X))
            targets = self._fit_targets(samples.codes, weight)
            return Scaling.of(inputs, targets, kind, X, raw, weight, channels)
        network = previous.network
        layers = make_layers(self._parameters(), X.shape[1], network.widths[-1])
        if layers != network.layers:
            name = "hidden_layer_sizes" if self.layers is None else "layers"
            widths = (X.shape[1], *(layer.d_out for layer in layers))
            more = "" if widths != network.widths else ", of layers of other types or settings"
            raise InputError(
                f"{name}: the network so far has widths {network.widths}, "
                f"but now they should be {widths}{more}; fit a new estimator"
            )
        before = getattr(self, "_scaling", None)
        if before is None:
            # Pickled by an earlier version: these samples stand for all earlier ones.
            inputs = previous.preprocessing
            targets = {name: getattr(previous, name) for name in TARGETS}
            before = Scaling.of(inputs, targets, plain(self.preprocess), X, raw, weight)
            self._scaling = before
        if choice(self.preprocess, PREPROCESSINGS, "preprocess") != before.kind:
            raise InputError(
                f"preprocess: the run so far has {before.kind!r}, and goes on with it; set it "
                "back, or fit a new estimator"
            )
        return before.follow(X, raw, weight) if all_at_once else before

    def _chosen(
        self, X: Array, Y: Array, weight: Array | None, codes: Array, seed: int
    ) -> dict[str, Any]:
        """Return the parameters that trials choose for these samples; none if there are none."""
        given = self._parameters()
        if (
            plain(self.early_stopping) != AUTO
            or plain(self.solver) != MINI_BATCH
            or self.layers is not None
            or not have_trials(len(X))
            or any(given[name] is not None for name in CHOSEN)
        ):
            return {}

        def solver_for(more: dict[str, Any]) -> Any:
            return make_solver(given | more, X.shape[1], Y.shape[1], samples=len(X))

        return chosen_by_trials(solver_for, X, Y, weight, codes[:, 0], seed)

    def _with_chosen(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return `parameters` with what trials chose, now or before a warm start, where None."""
        chosen: dict[str, Any] = getattr(self, "_of_trials", {})
        if plain(self.early_stopping) != AUTO:
            return parameters
        return parameters | {n: value for n, value in chosen.items() if parameters[n] is None}

    def _iterations(self, solver: AnySolver, n: int, max_iter: Any) -> int:
        if max_iter is not None:
            return require_integer(max_iter, "max_iter", at_least=1)
        if isinstance(solver, MiniBatchThreeSplitting):
            return solver.passes(n)
        return ITERATIONS

    def _callbacks(self, solver: AnySolver, held_out: Any) -> list[Callback]:
        mini_batch = isinstance(solver, MiniBatchThreeSplitting)
        callbacks: list[Callback] = [BatchLoss() if mini_batch else Objective()]
        if held_out is not None:
            X, Y, weight = held_out
            callbacks.append(HeldOut(X, Y, weight, self._score))
            waits = self.n_iter_no_change, self.tol
            callbacks.append(EarlyStopping("validation_loss", *waits, mode="min"))
        if flag(self.verbose, "verbose", levels=True):
            callbacks.append(Progress())
        return callbacks

    def _keep(self, result: Result, scaling: Scaling, go_on: bool) -> None:
        """Set the attributes that are known after training; with `go_on` extend the history."""
        names = getattr(self, "feature_names_in_", None)
        network = result.network
        self.model_ = Model(
            network,
            preprocessing=scaling.inputs,
            feature_names=None if names is None else [str(name) for name in names],
            loss=loss_name(self._parameters()["loss"]),
            input_kind=self._input_kind,
            image_shape=self._image_shape,
            **scaling.targets,
        )
        self.network_ = network
        quantity = "batch_loss" if self.solver == MINI_BATCH else "objective"
        # After Ctrl-C the last record may lack the quantity, or there may be no record.
        curve: list[float] = [row[quantity] for row in result.history if quantity in row]
        best = min(curve, default=math.inf)
        if go_on:  # in place, because a part of an endless stream must not cost more than the last
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
        self.validation_loss_curve_: list[float] | None = None
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None

    def _keep_scores(self, result: Result, callbacks: list[Callback]) -> None:
        for callback in callbacks:
            if isinstance(callback, EarlyStopping):
                measured = [row for row in result.history if callback.monitor in row]
                self.validation_loss_curve_ = [row["validation_loss"] for row in measured]
                self.validation_scores_ = [row["validation_score"] for row in measured]
                best = callback.best_iteration
                kept = [row["validation_score"] for row in measured if row["iteration"] == best]
                self.best_validation_score_, self.best_loss_ = kept[0] if kept else None, None
