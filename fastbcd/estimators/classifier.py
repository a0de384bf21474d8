"""The estimator for classification."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from fastbcd.data.class_weight import balanced
from fastbcd.data.label_columns import (
    check_both_occur,
    check_labels,
    has_columns,
    is_loss_of_labels,
    label_columns,
    loss_of_labels,
)
from fastbcd.data.label_values import faithful
from fastbcd.data.labels import indices_of, one_hot
from fastbcd.data.validation import check_some_weight
from fastbcd.errors import InputError
from fastbcd.estimators.base import BaseBCD, takes_streams
from fastbcd.estimators.samples import Array
from fastbcd.models.probabilities import (
    check_has_probabilities,
    label_probabilities,
    probabilities,
)
from fastbcd.support.floating_point import own_errstate, own_errstate_in
from fastbcd.support.parameters import loss_name, plain


def _has_probabilities(estimator: Any) -> bool:
    """Return True if `estimator` has `predict_proba`, else raise an `AttributeError`."""
    try:
        check_has_probabilities(loss_name(estimator.loss))
    except InputError as error:
        raise AttributeError(str(error)) from None
    return True


@own_errstate_in
@dataclass(eq=False, repr=False)
class BCDClassifier(ClassifierMixin, BaseBCD):
    """Network that predicts classes, trained by block coordinate descent, without backpropagation.

    It minimises the mean of ``w_i loss(network(x_i); y_i)`` with the chosen solver, where y_i is
    the one-hot row of a class and w_i the weight of a sample. `predict` returns the class of the
    largest output, `predict_proba` the probabilities that belong to the loss
    (`fastbcd.models.probabilities`).

    If y is a matrix (n, k) of 0 and 1, a sample has any number of k labels, and y_i is its row. The
    losses of the labels add up, and `predict` returns such a matrix.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128, 128)
        Widths of the hidden layers; ``()`` is a linear model.
    activation : str or Formula, default="relu"
        Activation of the hidden layers; see `Problem`.
    layers : str or sequence of str, optional
        Hidden layers of several types, in place of `hidden_layer_sizes`, such as
        ``"conv:16:5,maxpool:2,dense:128"``; see `fastbcd.layers.build_layers`. X may then be images
        (n, H, W, C), channels last, or (n, H, W) with one channel.
    image_shape : (H, W, C) or (H, W), optional
        For `layers`: shape of the images in the rows of X, if X is (n, d).
    loss : str or Loss, default="cross_entropy"
        ``"cross_entropy"``, or ``"cross_entropy:0.1"`` with label smoothing of 0.1;
        ``"squared"``, ``"logistic"`` (two classes), ``"logistic_ovr"``, ``"exponential"``, or
        ``"hinge"``, which has no probabilities. With several labels ``"cross_entropy"`` is that of
        each label, which is ``"logistic_ovr"``; the last two are the only others.
    solver : {"mini-batch", "three-splitting", "two-splitting"}, default="mini-batch"
        `MiniBatchThreeSplitting` learns fastest. `ThreeSplitting` and `TwoSplitting` use full
        batches, and their objective falls in every iteration.
    residual : bool, default=False
        Make hidden layers residual that are as wide as the layer below, and all convolutions but
        the first layer; not for two-splitting.
    gamma : float, default=1
        Weight of the couplings.
    rho : float, optional
        Weight of the linear coupling; default: gamma, or 16 on mini-batches.
    proximal_weight : float, optional
        For full batches, weight alpha of the proximal terms; default: 1e-3.
    weight_penalty : str, Penalty, or one for each layer, optional
        See `Problem`. Default: none on mini-batches, which have `weight_decay`, and
        ``"ridge:3e-4"`` on full batches.
    state_penalty : the same, optional
        For full batches, penalty on the states of the layers.
    acceleration : {"auto", "nesterov", None}, default="auto"
        For full batches. With "nesterov" each iteration starts from
        ``P^k + beta_k (P^k - P^{k-1})`` instead of its last point P^k, all blocks together. F still
        falls in every iteration, and much faster. None is the published procedure. "auto" is
        "nesterov" on full batches; mini-batches have no acceleration, only `momentum`.
    batch_size, step_size, schedule, momentum, damping, rank, output_rank, weight_decay : optional
        For mini-batches, see `MiniBatchThreeSplitting`. Their defaults are those of the solver, or
        follow from the number of samples and the network, or from trials (`early_stopping`).
    average, step_unit : optional
        For mini-batches, too. `step_unit` is "fit", "output" or "spectral"; by default "output" for
        networks with convolutions.
    augment : str, optional
        For images on mini-batches: in each pass every image is shifted at random by up to P rows
        and columns (``"crop:P"``), mirrored with probability 1/2 (``"flip"``), or both
        (``"crop:P,flip"``). Pixels from outside have the scaled value of 0. It needs `layers`.
    dropout, input_noise : float, optional
        For mini-batches: the share of the outputs of hidden layers that are 0 in a batch, and the
        standard deviation of normal noise on the scaled inputs. See `MiniBatchThreeSplitting`.
    nesterov : bool, optional
        For mini-batches: steps look ahead by one batch. Default: they do not.
    max_iter : int, optional
        Passes over the samples. Default: as many as trials choose (`early_stopping`), or else 10 on
        mini-batches, or as many as make 1200 batches; 50 on full batches.
    preprocess : {"auto", "none", "unit", "standard", "clipped"}, default="auto"
        Scaling of inputs, fitted in `fit`. By default grey levels (unsigned integers) are scaled to
        [0, 1], other numbers to mean 0 and variance 1 and clipped at five deviations; columns of 0
        and 1 stay as they are. All pixels of a channel of images have the same mean and variance.
        See `Preprocessing.fit`.
    early_stopping : {"auto", True, False}, default="auto"
        With "auto" two or three short trials on a part of the samples choose `damping`,
        `batch_size` and `max_iter`, and then all samples are trained on. There are trials on
        mini-batches, of 100 to 20,000 samples, unless one of these or `schedule` or `layers` is
        given, or training goes on.
        With True, hold out a share `validation_fraction` of the samples, stop once their mean loss
        has not fallen by `tol` for `n_iter_no_change` passes, and keep the weights of the least
        one. For the cross-entropy it is the log loss.
    validation_fraction : float, default=0.1
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
        These three are for early stopping only.
    warm_start : bool, default=False
        `fit` goes on from the weights and the scaling of the last `fit`.
    random_state : int, RandomState or None, default=None
        Seed of the initial weights, the order of samples, and the held-out samples.
    dtype : {"float32", "float64"}, default="float32"
        Type in training; predictions are computed in float64.
    device : {"cpu", "cuda"}, default="cpu"
        Device for training; a GPU needs the extra ``cuda13``. Predictions use the processor.
    n_threads : int, optional
        Default: as many as BLAS would use, or one if batches are too small for more. No result
        depends on it.
    verbose : bool, default=False
        Show a progress bar in a terminal or notebook, else lines of the logger ``fastbcd``.
    class_weight : dict, "balanced" or None, default=None
        Weights of classes, by which those of samples are multiplied; not for several labels.

    Attributes
    ----------
    classes_ : (k,) array
        Sorted labels; with several labels the numbers of their columns.
    model_ : Model
        Network, scaling and classes: ``model_.save(path)`` writes what ``fastbcd predict`` reads.
    network_ : Network
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.
    n_iter_ : int
        Number of passes, or of calls of `partial_fit`.
    loss_curve_ : list of float
        Mean loss during each pass, without penalties; on full batches the objective F after it.
    loss_, best_loss_ : float
        The last and the smallest of these; best_loss_ is None with early stopping.
    validation_loss_curve_, validation_scores_ : list of float
        Mean losses and accuracies on the held-out samples after each pass; None without early
        stopping.
    best_validation_score_ : float
        The accuracy of the pass whose weights were kept.
    n_layers_, n_outputs_ : int
        Number of layers, including that of the inputs, and number of outputs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastbcd import BCDClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> bool(BCDClassifier(random_state=0).fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]) > 0.9)
    True
    """

    _: KW_ONLY
    loss: Any = "cross_entropy"
    class_weight: Any = None

    @available_if(takes_streams)
    @own_errstate
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Any:
        """Train on a part of a stream; see `BaseBCD.partial_fit`.

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array, or (n, k) of 0 and 1
        classes : array, optional
            All labels that the stream may have, two or more. The first call needs them, unless
            `fit` came before or y is a matrix; later calls may repeat them.
        sample_weight : (n,) array, optional
            Weights are not scaled: 1 is the weight of a usual sample.
        """
        return self._partial_fit(X, y, sample_weight, classes)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = is_loss_of_labels(self.loss)
        return tags

    def _validate(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        if has_columns(y):
            X, y = self._validated(X, label_columns(y, "y"), reset=reset, multi_output=True)
            return X, check_labels(y, "y")
        if y is not None:
            y = faithful(y, "y")
        X, y = self._validated(X, y, reset=reset)
        check_classification_targets(y)
        return X, y

    def _encode(self, y: Array, go_on: bool, stream: bool = False, classes: Any = None) -> Array:
        multi_label = y.ndim == 2
        if go_on and multi_label != self._multi_label:
            kinds = ("classes", "labels in columns")
            raise InputError(
                f"y has {kinds[multi_label]}, but had {kinds[not multi_label]} before; fit a new "
                "estimator"
            )
        self._multi_label = multi_label
        found = np.arange(y.shape[1]) if multi_label else np.unique(y)
        if stream:
            if multi_label and classes is None and not go_on:
                classes = found
            self._set_classes_of_stream(classes, go_on)
        elif not go_on:
            self.classes_ = found
        if multi_label:
            return self._label_codes(y, found)
        if go_on and not stream and not np.array_equal(found, self.classes_):
            raise InputError(
                f"warm_start: y has the classes {found}, but had {self.classes_} in the last fit; "
                "fit a new estimator"
            )
        return indices_of(y, self.classes_, "y")[:, None]

    def _label_codes(self, y: Array, found: Array) -> Array:
        """Return the labels (n, k), after a check of their number and of the parameters."""
        if not np.array_equal(found, self.classes_):
            raise InputError(
                f"y has {len(found)} labels in columns, but {len(self.classes_)} are expected: "
                f"{self.classes_}"
            )
        if plain(self.class_weight) is not None:
            raise InputError(
                "class_weight: it is for samples of one class each; y has several labels, so leave "
                "it at None"
            )
        loss_of_labels(self.loss)
        return y

    def _parameters(self) -> dict[str, Any]:
        parameters = super()._parameters()
        if self._multi_label:
            parameters["loss"] = loss_of_labels(self.loss)
        return parameters

    def _set_classes_of_stream(self, classes: Any, go_on: bool) -> None:
        given = None if classes is None else np.unique(faithful(classes, "classes"))
        if go_on:
            if given is not None and not np.array_equal(given, self.classes_):
                raise InputError(
                    f"classes: they were {self.classes_} in the first call, but are {given} now"
                )
            return
        if given is None:
            raise InputError("classes: the first call of partial_fit needs all of them")
        if len(given) < 2:
            raise InputError(f"classes: at least two classes are needed, got {given}")
        self.classes_ = given

    def _check_kept(self, codes: Array) -> None:
        if self._multi_label:
            check_both_occur(codes, "y", self.classes_.tolist())
            return
        if len(np.unique(codes)) < 2:
            label = self.classes_[int(codes[0, 0])]
            raise InputError(
                f"y: all samples that are left to train on are of one class, {label!s}; at least "
                "two classes are needed"
            )

    def _with_class_weight(
        self, codes: Array, weight: Array | None, stream: bool = False
    ) -> Array | None:
        class_weight = plain(self.class_weight)
        if class_weight is None:
            return weight
        each = self._weight_of_classes(class_weight, codes[:, 0], weight, stream)
        factors = each[codes[:, 0]]
        check_some_weight(factors, "class_weight")
        if weight is None:
            return factors
        with np.errstate(over="ignore"):
            product: Array = factors * weight
        if not np.isfinite(product).all():
            raise InputError("class_weight: its product with sample_weight overflows")
        check_some_weight(product, "class_weight times sample_weight")
        return product

    def _weight_of_classes(
        self, class_weight: Any, codes: Array, weight: Array | None, stream: bool
    ) -> Array:
        """Return the weight of each class, (k,) float64."""
        k = len(self.classes_)
        if isinstance(class_weight, str) and class_weight == "balanced":
            if stream:
                raise InputError(
                    "class_weight: a part of a stream does not show how frequent the classes are; "
                    "give partial_fit a dict of weights, or sample_weight"
                )
            each = balanced(np.bincount(codes, weight, minlength=k))
        else:
            for label, given in class_weight.items() if isinstance(class_weight, dict) else ():
                if not np.isreal(plain(given)) or isinstance(plain(given), bool):
                    raise InputError(f"class_weight of {label!s} must be a number, got {given!r}")
            y = self.classes_[codes]
            each = compute_class_weight(class_weight, classes=self.classes_, y=y)
        each = np.asarray(each, np.float64)
        if not (np.isfinite(each) & (each >= 0.0)).all():
            raise InputError(f"class_weight must be finite and not negative, got {each}")
        return each

    def _fit_targets(self, codes: Array, weight: Array | None) -> dict[str, Any]:
        return {"classes": self.classes_, "multi_label": self._multi_label}

    def _network_targets(self, codes: Array, targets: dict[str, Any]) -> Array:
        return self._raw(codes)

    def _raw(self, codes: Array) -> Array:
        if self._multi_label:
            return codes.astype(np.float32)
        return one_hot(codes[:, 0], len(self.classes_))

    def _score(self, outputs: Array, Y: Array, weight: Array | None) -> float:
        if self._multi_label:
            return float(accuracy_score(Y > 0.5, outputs > 0, sample_weight=weight))
        right, found = Y.argmax(axis=1), outputs.argmax(axis=1)
        return float(accuracy_score(right, found, sample_weight=weight))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the largest output for each row of X (n, d).

        With several labels return 1 for each output above 0, that is a probability above 1/2, and
        0 for the others: (n, k) integers.
        """
        outputs = self._outputs(X)
        return self.model_.decoded(outputs)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return outputs (n, k) for X (n, d); for two classes the second less the first, (n,)."""
        outputs = self._outputs(X)
        if outputs.shape[1] == 2 and not self._multi_label:
            return outputs[:, 1] - outputs[:, 0]
        return outputs

    @available_if(_has_probabilities)
    @own_errstate
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities (n, k) of the classes for X (n, d), in the order of `classes_`.

        The link belongs to the loss: softmax for cross-entropy, the nearest vector of probabilities
        for the squared loss, and for the others the logistic function of each class against the
        rest, divided by their sum. With the hinge loss the method does not exist. With several
        labels column j has the probabilities of label j, which do not depend on those of others.
        """
        outputs = self._outputs(X)
        function = label_probabilities if self._multi_label else probabilities
        return function(loss_name(self.model_.loss), outputs)

    @available_if(_has_probabilities)
    @own_errstate
    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return logarithms of `predict_proba` for X; -infinity for a probability of 0."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))
