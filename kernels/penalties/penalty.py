"""What a penalty is: a separable function r of weights, and its proximal operator."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.formula import Formula, number


class Penalty(Formula):
    """A separable convex penalty ``r(W) = sum_ij r(w_ij)``; biases are never penalised.

    The same objects penalise states, ``s(V) = sum_ij s(v_ij)``.

    - ``value(w)``: ``r(w)``, infinite outside its domain;
    - ``shrink(c, step)``: ``argmin_w r(w) + 1/(2 step) (w - c)^2``, its proximal operator;
      with ``step = 0`` the nearest point of the domain;
    - ``subdifferential(w)``: the ends of the interval of slopes of r at w, infinite where
      the domain ends (for the subgradient of the certificate).

    Parameters
    ----------
    name : str
        What users call it.
    parameters : tuple of float
        The last argument p of its functions.
    ridge : float or None
        The strength, where ``r(w) = ridge/2 w^2``: then the W-block is one linear solve
        (`fastbcd.kernels.gram_solve`). None: coordinate descent
        (`fastbcd.kernels.coordinate_descent`).
    **functions
        The compiled functions above, with the tuple of parameters as their last argument.
    """

    def __init__(
        self,
        name: str,
        parameters: tuple[float, ...] = (),
        ridge: float | None = None,
        **functions: Any,
    ) -> None:
        super().__init__(name, parameters, **functions)
        self.ridge = None if ridge is None else number(ridge, name)


def check_strength(name: str, strength: float) -> float:
    """`strength` where it lies between 0 and 1e15, else a `ValueError`."""
    strength = number(strength, name)
    if not 0 <= strength <= 1e15:
        raise ValueError(f"{name}: strength must lie between 0 and 1e15, got {strength}")
    return strength
