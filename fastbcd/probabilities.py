"""Class probabilities from a network's outputs: the link that belongs to each loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax, softmax

from fastbcd.errors import InputError

Array = NDArray[np.float64]


def simplex(v: Array) -> Array:
    """``p = argmin_{p >= 0, sum p = 1} |p - v|^2``: ``p_j = max(v_j - t, 0)``, rows of v (n, k).

    For the squared loss on one-hot targets, whose minimiser is the vector of probabilities.
    """
    descending = -np.sort(-v, axis=1)
    means = (np.cumsum(descending, axis=1) - 1.0) / np.arange(1, v.shape[1] + 1)
    positive = np.count_nonzero(descending > means, axis=1)
    return np.maximum(v - means[np.arange(len(v)), positive - 1, None], 0.0)


def one_against_rest(slope: float) -> Callable[[Array], Array]:
    """``p_j`` proportional to ``1 / (1 + exp(-slope v_j))``.

    Slope 1 for the logistic loss, 2 for the exponential one: what minimises the expected loss
    of class j against the rest.
    """
    return lambda v: softmax(log_expit(slope * v), axis=1)


def _softmax(v: Array) -> Array:
    """``p_j`` proportional to ``exp(v_j)``."""
    return np.exp(log_softmax(v, axis=1))


LINKS: dict[str, Callable[[Array], Array]] = {
    "squared": simplex,
    "cross_entropy": _softmax,
    "logistic": one_against_rest(1.0),
    "logistic_ovr": one_against_rest(1.0),
    "exponential": one_against_rest(2.0),
}
"""By name of the loss; the hinge loss has none, it finds the likelier class only."""


def probabilities(loss: str, outputs: ArrayLike) -> Array:
    """Probabilities (n, k), float64, rows of which add up to 1, from outputs (n, k).

    Parameters
    ----------
    loss : str
        Name of the loss that the network was trained with, see `LINKS`.
    outputs : (n, k) array
        One column a class, as `Network.forward` gives them.

    Raises
    ------
    InputError
        The loss has no probabilities.
    """
    if loss not in LINKS:
        raise InputError(f"loss: {loss} gives no probabilities; those that do: {', '.join(LINKS)}")
    return LINKS[loss](np.asarray(outputs, np.float64))
