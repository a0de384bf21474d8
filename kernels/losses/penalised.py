"""Proximal operator of a loss plus a penalty, elementwise, from the operator of each alone.

    v = argmin_v phi(v) + s(v) + q/2 (v - c)^2

For any x let ``v(x) = argmin phi(v) + q/2 (v - x)^2``, the prox of the loss at a shifted
center. The shift amounts to the slope ``h = q (c - x)``, a subgradient of the penalty at v(x) where

    psi(x) = prox(v(x) + c - x, 1/q) - v(x) = 0,

and then v(x) is the minimiser. psi is continuous and never rises, so a bracketing method finds
its root for any convex loss and penalty.
"""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.jit import scalar

MAX_STEPS = 300


def bracketed_root(function: Any) -> Any:
    """Make ``root(start, step, a, ...)``, a scalar: the x where ``function(x, a, ...)`` crosses 0.

    `function` is a compiled scalar of six arguments that never rises with x. From `start`
    on steps double until the sign changes. Then follows the Illinois variant of regula falsi,
    with a bisection where that is slow.
    """

    @scalar
    def root(start, step, a, b, c, d, e):
        low = high = start
        f_low = f_high = function(start, a, b, c, d, e)
        if f_low == 0.0:
            return start
        for _ in range(MAX_STEPS):
            if f_low > 0.0 and f_high > 0.0:
                low, f_low = high, f_high
                high = low + step
                f_high = function(high, a, b, c, d, e)
            elif f_low < 0.0 and f_high < 0.0:
                high, f_high = low, f_low
                low = high - step
                f_low = function(low, a, b, c, d, e)
            else:
                break
            step *= 2.0
        kept, width = 0, high - low
        for k in range(MAX_STEPS):
            if f_low == 0.0:
                return low
            if f_high == 0.0:
                return high
            middle = low + (high - low) * (f_low / (f_low - f_high))
            if k % 3 == 2:
                if high - low > 0.5 * width:
                    middle = low + 0.5 * (high - low)
                width = high - low
            if not low < middle < high:
                middle = low + 0.5 * (high - low)
                if not low < middle < high:
                    break
            f = function(middle, a, b, c, d, e)
            if f > 0.0:
                low, f_low = middle, f
                f_high *= 0.5 if kept == 1 else 1.0
                kept = 1
            else:
                high, f_high = middle, f
                f_low *= 0.5 if kept == -1 else 1.0
                kept = -1
        return low + 0.5 * (high - low)

    return root


def penalised_prox(prox: Any) -> Any:
    """Make ``(center, q, penalty, a, b) -> v``, a scalar, from ``prox(x, q, a, b)`` of phi."""

    @scalar
    def psi(x, center, q, penalty, a, b):
        v = prox(x, q, a, b)
        return penalty.prox(v + (center - x), 1.0 / q) - v

    root = bracketed_root(psi)

    @scalar
    def solve(center, q, penalty, a, b):
        first = abs(psi(center, center, q, penalty, a, b))
        x = root(center, first, center, q, penalty, a, b)
        # The penalty's prox comes last, as it gives exact zeros and bounds.
        return penalty.prox(prox(x, q, a, b) + (center - x), 1.0 / q)

    return solve
