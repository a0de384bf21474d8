"""Global proximal operators of smooth activations, from the roots of a derivative.

The U-block minimises ``f(u) = (a - act(u))^2 + q (u - c)^2``. Its stationary points
solve

    g(u) = q (u - c) - h(u) = 0,    h(u) = act'(u) (a - act(u)),    f' = 2 g.

Say ``a > act(c)`` with act increasing (the other side is its mirror image): then the
minimiser lies at or above c. For sigmoid, tanh and softplus h rises to one mode and
falls beyond it, and on the way up its slope h' has a single peak. Hence

- if ``q >= h'`` at the peak, g increases: one root, the minimiser;
- else g has at most two roots at which it goes from - to +: one between c and the
  peak, one beyond. Both are found in brackets on which g is monotone, and the one with
  the lower f is the global minimiser.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar

MAX_STEPS = 200


def sign_change(function: Any) -> Any:
    """Scalar ``(low, high, a) -> (low, high)``: where ``function(x, a)`` falls through 0.

    `function` is a compiled scalar, positive at `low` and not at `high`; by bisection.
    """

    @scalar
    def bisect(low, high, a):
        half = type(a)(0.5)
        for _ in range(MAX_STEPS):
            middle = low + half * (high - low)
            if middle in (low, high):
                break
            if function(middle, a) > type(a)(0):
                low = middle
            else:
                high = middle
        return low, high

    return bisect


def gradient_root(evaluate: Any) -> Any:
    """Scalar ``root(low, high, a, c, q)``: where g crosses 0 in a bracket on which it increases.

    `evaluate` is a compiled scalar, ``u -> (act(u), act'(u), act''(u))``.
    """

    @scalar
    def root(low, high, a, c, q):
        T = type(c)
        half, tolerance = T(0.5), T(2) * T(np.finfo(type(c)).eps)
        u = low
        last = before_last = high - low
        for _ in range(MAX_STEPS):
            act, d1, d2 = evaluate(u)
            miss = a - act
            g, g_slope = q * (u - c) - d1 * miss, q + d1 * d1 - d2 * miss
            if g < T(0):
                low = u
            elif g > T(0):
                high = u
            else:
                return u
            new, newton = u, g_slope > T(0)
            if newton:
                step = g / g_slope
                new = u - step
                if new == u:
                    return u
                newton = low < new < high and abs(step) <= half * before_last
            # Newton, unless it leaves the bracket or is slower than bisection.
            if newton:
                if abs(step) <= tolerance * abs(new):
                    return new
            else:
                new = low + half * (high - low)
                if new in (low, high):
                    return new
                step = u - new
            before_last, last = last, abs(step)
            u = new
        return u

    return root


def global_prox(evaluate: Any, slope_bound: Any, slope_peak: Any) -> Any:
    """Scalar ``prox(a, c, q)`` for ``a > act(c)``: the global minimiser, at or above c.

    Parameters
    ----------
    evaluate : compiled scalar
        ``u -> (act(u), act'(u), act''(u))``, act increasing.
    slope_bound : compiled scalar
        ``a -> bound >= h'``, cheap: most calls have ``q >= bound`` and need no more.
    slope_peak : compiled scalar
        ``a -> (peak, mode)``: where h' is largest, and where h is.
    """
    root = gradient_root(evaluate)

    @scalar
    def objective(u, a, c, q):
        act, _, _ = evaluate(u)
        return (a - act) * (a - act) + q * (u - c) * (u - c)

    @scalar
    def gradient(u, a, c, q):
        act, d1, _ = evaluate(u)
        return q * (u - c) - d1 * (a - act)

    @scalar
    def slope(u, a):
        act, d1, d2 = evaluate(u)
        return d2 * (a - act) - d1 * d1

    @scalar
    def crossing(low, high, a, q):
        """Where h' crosses q between `low` and `high`, from the side of `low`; by bisection."""
        half = type(q)(0.5)
        above = slope(low, a) > q
        for _ in range(MAX_STEPS):
            middle = low + half * (high - low)
            if middle in (low, high):
                break
            if (slope(middle, a) > q) == above:
                low = middle
            else:
                high = middle
        return high

    @scalar
    def prox(a, c, q):
        T = type(c)
        # f(u) <= f(c) confines the minimiser.
        high = c + (a - evaluate(c)[0]) / math.sqrt(q)
        for _ in range(MAX_STEPS):
            if not gradient(high, a, c, q) < T(0):
                break
            # Rounding left `high` short of the root, at c itself in the extreme.
            high += (high - c) + abs(high) * T(np.finfo(type(c)).eps) + T(np.finfo(type(c)).tiny)
        if q >= slope_bound(a):
            return root(c, high, a, c, q)
        peak, mode = slope_peak(a)
        if c >= mode or slope(max(c, peak), a) <= q:
            return root(c, high, a, c, q)

        # g falls from where h' crosses q on the way up to where it does on the way down.
        falls_until = min(crossing(max(c, peak), mode, a, q), high)
        has_upper = gradient(falls_until, a, c, q) <= T(0)
        falls_from = c
        if c < peak and slope(c, a) < q:
            falls_from = min(crossing(c, peak, a, q), falls_until)
        if gradient(falls_from, a, c, q) < T(0):  # no root on the way up
            return root(falls_until, high, a, c, q)
        lower = root(c, falls_from, a, c, q)
        if not has_upper:
            return lower
        upper = root(falls_until, high, a, c, q)
        return upper if objective(upper, a, c, q) < objective(lower, a, c, q) else lower

    return prox


def smooth_activation(name: str, evaluate: Any, curvature: Any, prox: Any) -> Formula:
    """An activation without parameters, its value and derivative from `evaluate`."""

    @scalar
    def value(u, p):
        return evaluate(u)[0]

    @scalar
    def derivative(u, p):
        return evaluate(u)[1]

    return Formula(name, value=value, derivative=derivative, curvature=curvature, prox=prox)
