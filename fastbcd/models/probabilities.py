"""Class probabilities from a network's outputs: the link that belongs to each loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit

from fastbcd.data.validation import check_matrix
from fastbcd.errors import InputError

Array = NDArray[np.float64]
LOWEST = np.finfo(np.float64).min


def simplex(v: Array) -> Array:
    """``p = argmin_{p >= 0, sum p = 1} |p - v|^2``, rows of v (n, k).

    ``p_j = max(v_j - t, 0)`` with ``t = max_m (v_(1) + ... + v_(m) - 1) / m``, v_(1) being the
    largest. It belongs to the squared loss on one-hot targets, whose minimiser is the vector of
    probabilities.
    """
    # An output 1 or more below the largest has probability 0, so the clipping changes nothing.
    v = np.maximum(_below_largest(v), -1.0)
    means = (np.cumsum(-np.sort(-v, axis=1), axis=1) - 1.0) / np.arange(1, v.shape[1] + 1)
    return np.maximum(v - means.max(axis=1, keepdims=True), 0.0)


def one_against_rest(v: Array, slope: float) -> Array:
    """``p_j`` proportional to ``1 / (1 + exp(-slope v_j))``.

    With `slope` 1 for the logistic loss and 2 for the exponential one, the sigmoid inverts the
    minimiser of the expected loss of class j against the rest.
    """
    with np.errstate(over="ignore"):  # at infinity the logarithm is 0 or -infinity
        logarithms = log_expit(slope * v)
    return softmax(np.maximum(logarithms, LOWEST))


def softmax(v: Array) -> Array:
    """``p_j = exp(v_j) / sum_i exp(v_i)``."""
    powers = np.exp(_below_largest(v))
    return powers / powers.sum(axis=1, keepdims=True)


def _below_largest(v: Array) -> Array:
    """``v_j - max_i v_i``, or -infinity if that is beyond float64."""
    with np.errstate(over="ignore"):
        return v - v.max(axis=1, keepdims=True)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "simplex": simplex,
    "softmax": softmax,
    "one_against_rest": one_against_rest,
}


@dataclass(frozen=True)
class Link:
    """The map from outputs to probabilities: one of `FUNCTIONS`, and its slope if it has one."""

    kind: str
    slope: float | None = None

    def __call__(self, v: Array) -> Array:
        """Return probabilities (n, k) for outputs (n, k)."""
        function = FUNCTIONS[self.kind]
        return function(v) if self.slope is None else function(v, slope=self.slope)


LINKS: dict[str, Link] = {
    "squared": Link("simplex"),
    "cross_entropy": Link("softmax"),
    "logistic": Link("one_against_rest", 1.0),
    "logistic_ovr": Link("one_against_rest", 1.0),
    "exponential": Link("one_against_rest", 2.0),
}
"""Links by name of the loss; the hinge loss has none, because it only finds the likelier class."""


def probabilities(loss: str, outputs: ArrayLike) -> Array:
    """Return probabilities (n, k), float64, from outputs (n, k); each row adds up to 1.

    Parameters
    ----------
    loss : str
        Name of the loss that the network was trained with, see `LINKS`; parameters behind it, as in
        ``"cross_entropy:0.1"``, change nothing.
    outputs : (n, k) array
        One column per class, as `Network.forward` returns them.

    Raises
    ------
    InputError
        The loss has no probabilities, or outputs are not finite.
    """
    return LINKS[check_has_probabilities(loss)](check_matrix(outputs, "outputs").astype(np.float64))


def label_probabilities(loss: str, outputs: ArrayLike) -> Array:
    """Return ``1 / (1 + exp(-slope v))`` of each output (n, k): the probability of each label.

    It is for networks whose samples have any number of labels, with a `loss` that has a slope in
    `LINKS`. Rows do not add up to 1. `InputError` as for `probabilities`.
    """
    v = check_matrix(outputs, "outputs").astype(np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(expit(slope_of_labels(loss) * v), np.float64)


def slope_of_labels(loss: str) -> float:
    """Return the slope of the link of `loss`, for several labels; `InputError` without one."""
    slope = LINKS[check_has_probabilities(loss)].slope
    if slope is None:
        raise InputError(f"loss: {loss} gives no probabilities of several labels")
    return slope


def check_has_probabilities(loss: str) -> str:
    """Return the name of `loss` without parameters; `InputError` if it has no probabilities."""
    name = loss.partition(":")[0]
    if name not in LINKS:
        raise InputError(f"loss: {loss} gives no probabilities; those that do: {', '.join(LINKS)}")
    return name
