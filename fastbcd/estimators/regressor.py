"""The estimator for regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.metrics import r2_score

from fastbcd.data.target_scaling import fit_target_scaling
from fastbcd.errors import InputError
from fastbcd.estimators.base import BaseBCD
from fastbcd.estimators.samples import Array
from fastbcd.kernels import LOSSES
from fastbcd.models.means import has_log_link, means
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import loss_name, parse, plain


@own_errstate_in
class BCDRegressor(MultiOutputMixin, RegressorMixin, BaseBCD):
    """Network that predicts numbers, trained by block coordinate descent, without backpropagation.

    It minimises the mean of ``w_i loss(network(x_i); y_i)``. Before, each output of y is
    standardised (weighted mean 0, variance 1); `predict` scales it back. For the Poisson, gamma
    and Tweedie losses y is divided by its mean, and `predict` returns the mean
    ``exp(network(x))`` times that number.

    Parameters
    ----------
    hidden_layer_sizes, activation, layers, image_shape
        As in `BCDClassifier`, like all parameters that are not described here.
    loss : str or Loss, default="squared"
        Loss of the standardised targets. Others are ``"absolute"``, ``"huber:DELTA"``,
        ``"quantile:LEVEL"`` and, for y >= 0, ``"poisson"`` and ``"tweedie:POWER"``, for
        y > 0 ``"gamma"``. With several levels, such as ``"quantile:0.1,0.5,0.9"``, a vector y is
        the target of all, and `predict` returns one column for each level.
    solver, residual, gamma, rho, proximal_weight, weight_penalty, state_penalty
    acceleration, batch_size, step_size, schedule, momentum, damping, rank, output_rank
    weight_decay, average, step_unit, augment, dropout, input_noise, nesterov, max_iter, preprocess
    early_stopping : {"auto", True, False}, default="auto"
        The criterion is the mean loss of held-out samples, in scaled units; scores are R^2.
    validation_fraction, n_iter_no_change, tol, warm_start, random_state
    dtype, device, n_threads, verbose

    Attributes
    ----------
    model_, network_, n_iter_, loss_curve_, validation_loss_curve_, ...
        As in `BCDClassifier`; losses refer to the scaled targets.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastbcd import BCDRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> BCDRegressor((64,), random_state=0).fit(X, y).predict(X[:3]).shape
    (3,)
    """

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        X, y = self._validated(X, y, reset=reset, multi_output=True, y_numeric=True)
        return X, np.asarray(y, np.float64)

    def _encode(self, y: Array, go_on: bool, stream: bool = False, classes: Any = None) -> Array:
        targets = y[:, None] if y.ndim == 1 else y
        if y.ndim == 1:
            targets = np.repeat(targets, self._n_levels(), axis=1)
        if go_on and targets.shape[1] != self.n_outputs_:
            raise InputError(
                f"y has {targets.shape[1]} outputs, but had {self.n_outputs_} before; fit a new "
                "estimator"
            )
        # `predict` returns a vector if y was one.
        self._y_is_vector = y.ndim == 1 and targets.shape[1] == 1
        return targets

    def _n_levels(self) -> int:
        """Return the number of outputs that the loss gives to one target."""
        loss = plain(self.loss)
        if isinstance(loss, str):
            loss = parse(loss, LOSSES, "loss")
        return getattr(loss, "n_outputs", None) or 1

    def _fit_targets(self, codes: Array, weight: Array | None) -> dict[str, Any]:
        shift, scale = fit_target_scaling(codes, has_log_link(loss_name(self.loss)), weight)
        return {"classes": None, "target_shift": shift, "target_scale": scale}

    def _network_targets(self, codes: Array, targets: dict[str, Any]) -> Array:
        shift, scale = targets["target_shift"], targets["target_scale"]
        return np.asarray(codes / scale if shift is None else (codes - shift) / scale)

    def _raw(self, codes: Array) -> Array:
        return codes

    def _score(self, outputs: Array, Y: Array, weight: Array | None) -> float:
        # R^2 does not depend on the scaling of targets.
        predicted = means(loss_name(self.loss), outputs)
        return float(r2_score(Y, predicted, sample_weight=weight))

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict numbers (n,), or (n, k) if y was a matrix, for X (n, d)."""
        outputs = self._outputs(X)
        y = self.model_.decoded(outputs)
        return y[:, 0] if self._y_is_vector else y
