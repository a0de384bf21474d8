"""Global proximal operators of smooth activations, from the roots of a derivative.

The U-block minimises ``f(u) = (a - act(u))^2 + q (u - c)^2``. Its stationary points
solve

    g(u) = q (u - c) - h(u) = 0,    h(u) = act'(u) (a - act(u)),    f' = 2 g.

Let ``a > act(c)`` with act increasing (the other case is its mirror image). Then the
minimiser lies between c and ``act^-1(a)``. For sigmoid, tanh and softplus h rises to one
mode and falls beyond it, and its slope h' has a single peak before the mode. So g is first
concave, then convex up to the mode, and beyond it increases at least as fast as ``q u``.

- Where ``q >= h'`` everywhere, or c lies beyond the mode, g has one root: the minimiser.
  Newton's method finds it in a few steps, without branches: `quick_prox`.
- Else g crosses 0 upwards at most twice. Newton's method from c climbs to the lower
  crossing without passing it, as g is concave there. From the mode it descends to the upper
  crossing, as g is convex there. Where a crossing does not exist, g's slope changes sign
  before g does. The crossing with the lower f is the global minimiser: `global_prox`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar, straight
from fastbcd.kernels.plain import math

MAX_STEPS = 200


def quick_prox(evaluate: Any, single: Any, bends: tuple[float, float]) -> Any:
    """Make ``(a, c, q) -> u``, a straight scalar: the minimiser where g has one root, or NaN.

    It is NaN, too, where the last of three Newton steps (four in float64) does not prove that
    the next one would be below the rounding of u.

    Parameters
    ----------
    evaluate : straight scalar
        ``u -> (act(u), act'(u), act''(u))``.
    single : straight scalar
        ``(a, act(c), act'(c), q) -> bool``: True only where g has one root.
    bends : (float, float)
        ``|g''| <= bends[0] |a - act(u)| + bends[1]``.
    """
    of_residual, constant = bends

    @straight
    def newton(u, a, c, q, low, high):
        act, d1, d2 = evaluate(u)
        residual = a - act
        slope = q + d1 * d1 - d2 * residual
        return min(max(u - (q * (u - c) - d1 * residual) / slope, low), high), slope

    @straight
    def prox(a, c, q):
        T = type(c)
        eps = T(np.finfo(type(c)).eps)
        act, d1, _ = evaluate(c)
        residual = a - act
        # f(u) <= f(c) confines the minimiser.
        reach = c + residual / math.sqrt(q)
        low, high = min(c, reach), max(c, reach)
        # Gauss-Newton never leaves these bounds and starts well.
        u = c + d1 * residual / (q + d1 * d1)
        u, _ = newton(u, a, c, q, low, high)
        u, _ = newton(u, a, c, q, low, high)
        if eps < T(1e-10):
            u, _ = newton(u, a, c, q, low, high)
        new, slope = newton(u, a, c, q, low, high)
        # The error is quadratic in the last step: |g''| / (2 g') step^2.
        step = new - u
        error = step * step * (T(of_residual) * abs(residual) + T(constant))
        settled = (slope > T(0)) & (error <= eps * slope * abs(new))
        return new if single(a, act, d1, q) & settled else T(np.nan)

    return prox


def gradient_root(evaluate: Any) -> Any:
    """Make ``root(low, high, a, c, q)``, a scalar: the upward crossing of 0 by g in [low, high].

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
            residual = a - act
            g, g_slope = q * (u - c) - d1 * residual, q + d1 * d1 - d2 * residual
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


def global_prox(evaluate: Any, single: Any, mode: Any) -> Any:
    """Make ``prox(a, c, q)``, a scalar for ``a >= act(c)``: the global minimiser, at or above c.

    Parameters
    ----------
    evaluate, single : compiled scalars
        As in `quick_prox`.
    mode : compiled scalar
        ``a -> u`` at which h is largest.
    """
    root = gradient_root(evaluate)

    @scalar
    def objective(u, a, c, q):
        act, _, _ = evaluate(u)
        return (a - act) * (a - act) + q * (u - c) * (u - c)

    @scalar
    def gradient(u, a, c, q):
        """``g(u)`` and ``g'(u)``."""
        act, d1, d2 = evaluate(u)
        residual = a - act
        return q * (u - c) - d1 * residual, q + d1 * d1 - d2 * residual

    @scalar
    def crossing(u, a, c, q, stop):
        """Newton's method from u, g(u) not 0, to a crossing of 0 before `stop`; else NaN."""
        T = type(c)
        g, slope = gradient(u, a, c, q)
        below = g < T(0)
        for _ in range(MAX_STEPS):
            if not slope > T(0):
                return T(np.nan)
            new = u - g / slope
            if new == u:
                return u
            if (new >= stop) if below else (new <= stop):
                return T(np.nan)
            g, slope = gradient(new, a, c, q)
            if (g >= T(0)) == below:
                return root(min(u, new), max(u, new), a, c, q)
            u = new
        return u

    @scalar
    def prox(a, c, q):
        T = type(c)
        act, d1, _ = evaluate(c)
        # f(u) <= f(c) confines the minimiser.
        high = c + (a - act) / math.sqrt(q)
        for _ in range(MAX_STEPS):
            if not gradient(high, a, c, q)[0] < T(0):
                break
            # Rounding left `high` short of the root, at c itself in the extreme.
            high += (high - c) + abs(high) * T(np.finfo(type(c)).eps) + T(np.finfo(type(c)).tiny)
        if single(a, act, d1, q):
            return root(c, high, a, c, q)
        top = min(mode(a), high)
        if not top > c:
            return root(c, high, a, c, q)
        if gradient(top, a, c, q)[0] <= T(0):
            upper = root(top, high, a, c, q)
        else:
            upper = crossing(top, a, c, q, c)
        lower = crossing(c, a, c, q, top)
        if np.isnan(upper):
            # Without an upper crossing there is a lower one, up to rounding.
            return root(c, high, a, c, q) if np.isnan(lower) else lower
        if np.isnan(lower):
            return upper
        return upper if objective(upper, a, c, q) < objective(lower, a, c, q) else lower

    return prox


def smooth_activation(
    name: str, evaluate: Any, curvature: Any, prox: Any, quick_prox: Any
) -> Formula:
    """Make an activation without parameters; `evaluate` gives its value and derivative."""

    @straight
    def value(u, p):
        return evaluate(u)[0]

    @straight
    def derivative(u, p):
        return evaluate(u)[1]

    @straight
    def quick(a, c, q, p):
        return quick_prox(a, c, q)

    return Formula(
        name,
        value=value,
        derivative=derivative,
        curvature=curvature,
        prox=prox,
        quick_prox=quick,
    )
