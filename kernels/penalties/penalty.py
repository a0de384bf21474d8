"""The class of penalties: a separable function r of weights, and its proximal operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastbcd.kernels.formula import Formula, number
from fastbcd.kernels.streams import warn


class Penalty(Formula):
    """A separable convex penalty ``r(W) = sum_ij r(w_ij)``; biases are never penalised.

    The same objects penalise states, ``s(V) = sum_ij s(v_ij)``.

    - ``value(w)``: ``r(w)``, infinite outside its domain;
    - ``prox(c, step)``: ``argmin_w r(w) + 1/(2 step) (w - c)^2``, the proximal operator;
      with ``step = 0`` it is the nearest point of the domain;
    - ``subdifferential(w)``: the ends of the interval of slopes of r at w, infinite where
      the domain ends (for the subgradient of the certificate).

    Parameters
    ----------
    name : str
        The name that users type.
    parameters : tuple of float
        Each function gets them as its last argument p.
    ridge : float or None
        The strength, where ``r(w) = ridge/2 w^2``: then the W-block is one linear solve
        (`fastbcd.kernels.gram_solve`). None: the W-block uses coordinate descent
        (`fastbcd.kernels.coordinate_descent`).
    **functions
        The compiled functions above, with the tuple of parameters as their last argument.
        The old name ``shrink`` of ``prox`` still works, with a `DeprecationWarning`.
    """

    def __init__(
        self,
        name: str,
        parameters: tuple[float, ...] = (),
        ridge: float | None = None,
        **functions: Any,
    ) -> None:
        if "shrink" in functions:
            _warn_of_shrink()
            functions["prox"] = functions.pop("shrink")
        super().__init__(name, parameters, **functions)
        self.ridge = None if ridge is None else number(ridge, name)

    @property
    def shrink(self) -> Callable[..., Any]:
        """`prox` by the name that it had in the release before, with a `DeprecationWarning`."""
        _warn_of_shrink()
        return self.prox


def _warn_of_shrink() -> None:
    warn("fastbcd.kernels.Penalty: shrink is now called prox", DeprecationWarning, stacklevel=3)


def check_strength(name: str, strength: float) -> float:
    """`strength` as a float; `ValueError` unless it lies between 0 and 1e15."""
    strength = number(strength, name)
    if not 0 <= strength <= 1e15:
        raise ValueError(f"{name}: strength must lie between 0 and 1e15, got {strength}")
    return strength
