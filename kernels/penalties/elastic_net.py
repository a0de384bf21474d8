"""Elastic net, ``r(w) = strength (ratio |w| + (1 - ratio)/2 w^2)``; l1 is ratio 1."""

from __future__ import annotations

from fastbcd.kernels.formula import number
from fastbcd.kernels.jit import scalar
from fastbcd.kernels.penalties.penalty import Penalty, check_strength


@scalar
def _value(w, p):
    return p[0] * (p[1] * abs(w) + 0.5 * (1.0 - p[1]) * w * w)


@scalar
def _prox(c, step, p):
    # Soft thresholding, then division by the ridge's factor; small weights become exactly 0.
    threshold = step * p[0] * p[1]
    size = abs(c) - threshold
    if size <= 0.0:
        return 0.0
    size /= 1.0 + step * p[0] * (1.0 - p[1])
    return size if c > 0.0 else -size


@scalar
def _subdifferential(w, p):
    smooth, jump = p[0] * (1.0 - p[1]) * w, p[0] * p[1]
    return smooth + (jump if w > 0.0 else -jump), smooth + (-jump if w < 0.0 else jump)


def elastic_net(strength: float = 1e-3, ratio: float = 0.5) -> Penalty:
    """Elastic net, ``r(w) = strength (ratio |w| + (1 - ratio)/2 w^2)``.

    Raises
    ------
    ValueError
        The ratio is not in [0, 1], or the strength not in [0, 1e15].
    """
    strength, ratio = check_strength("elastic_net", strength), number(ratio, "elastic_net")
    if not 0 <= ratio <= 1:
        raise ValueError(f"elastic_net: ratio must lie between 0 and 1, got {ratio}")
    return Penalty(
        "elastic_net",
        (strength, ratio),
        value=_value,
        prox=_prox,
        subdifferential=_subdifferential,
    )


@scalar
def _l1_value(w, p):
    return p[0] * abs(w)


@scalar
def _l1_prox(c, step, p):
    size = max(abs(c) - step * p[0], 0.0)
    return size if c > 0.0 else -size


@scalar
def _l1_subdifferential(w, p):
    return p[0] if w > 0.0 else -p[0], -p[0] if w < 0.0 else p[0]


def l1(strength: float = 1e-3) -> Penalty:
    """l1 penalty, ``r(w) = strength |w|``: sparse weights, exact zeros."""
    strength = check_strength("l1", strength)
    return Penalty(
        "l1",
        (strength,),
        value=_l1_value,
        prox=_l1_prox,
        subdifferential=_l1_subdifferential,
    )
