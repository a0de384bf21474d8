"""Ridge penalty, ``r(w) = strength/2 w^2``; strength 0 is no penalty."""

from __future__ import annotations

from fastbcd.kernels.jit import scalar
from fastbcd.kernels.penalties.penalty import Penalty, check_strength


@scalar
def _value(w, p):
    return 0.5 * p[0] * w * w


@scalar
def _prox(c, step, p):
    return c / (1.0 + step * p[0])


@scalar
def _subdifferential(w, p):
    return p[0] * w, p[0] * w


def ridge(strength: float = 1.0) -> Penalty:
    """Ridge penalty (squared l2 norm), ``r(w) = strength/2 w^2``, ``strength >= 0``."""
    strength = check_strength("ridge", strength)
    return Penalty(
        "ridge",
        (strength,),
        ridge=strength,
        value=_value,
        prox=_prox,
        subdifferential=_subdifferential,
    )


def none() -> Penalty:
    """No penalty, ``r(w) = 0``."""
    return Penalty("none", ridge=0.0, value=_value, prox=_prox, subdifferential=_subdifferential)
