"""The V_l-block below a pooling layer, exactly and window by window; see docs/mathematics.md.

For a window with numbers ``v_1, ..., v_q`` the function is

    f(v) = sum_i (s(v_i) + kappa_i/2 (v_i - c_i)^2) + rho/2 (u - A v)^2

where A v is their mean or their maximum. All arithmetic is in float64. `fastbcd.kernels.pooling`
says in which order the numbers lie.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.pooling import first_of_window, window_offsets
from fastbcd.kernels.subgradient import _nearest_to_zero

# Most trials for the root of a rising function; every third one halves the interval.
MAX_TRIALS = 200


@scalar
def _fall(old, new, c, kappa, penalty):
    """``s(old) + kappa/2 (old - c)^2`` minus the same for `new`."""
    squares = 0.5 * kappa * (old - new) * (old + new - 2.0 * c)
    return penalty.value(old) - penalty.value(new) + squares


@scalar
def _mean_under(force, c, kappa, first, offsets, penalty):
    """The mean of ``prox_s(c_i + force / kappa_i, 1 / kappa_i)`` over a window."""
    total = 0.0
    for e in range(len(offsets)):
        i = first + offsets[e]
        total += penalty.prox(np.float64(c[i]) + force / kappa[i], 1.0 / kappa[i])
    return total / len(offsets)


@scalar
def _force(c, u, kappa, rho, ridge, first, offsets, penalty):
    """The root of ``q force / rho + mean(force) - u``, with the mean of `_mean_under`.

    With a ridge the mean is linear in `force`. For another s it rises, and by less than without s,
    so that the first two trials lie on both sides of the root.
    """
    q, more, response = len(offsets), 0.0, 0.0
    if ridge is not None:
        more = ridge
    for e in range(q):
        response += 1.0 / (kappa[first + offsets[e]] + more) / q
    excess = _mean_under(0.0, c, kappa, first, offsets, penalty) - u
    near = -excess / (q / rho + response)
    if ridge is not None:
        return near
    far = -excess * rho / q
    at_near = q * near / rho + _mean_under(near, c, kappa, first, offsets, penalty) - u
    at_far = q * far / rho + _mean_under(far, c, kappa, first, offsets, penalty) - u
    rounding = 4.0 * np.finfo(np.float64).eps * (abs(u) + abs(excess))
    for trial in range(MAX_TRIALS):
        if abs(at_near) <= rounding or (at_near > 0.0) == (at_far > 0.0):
            break
        force = far - at_far * (far - near) / (at_far - at_near)
        if trial % 3 == 2:
            force = 0.5 * (near + far)
        if force in (near, far):
            break
        value = q * force / rho + _mean_under(force, c, kappa, first, offsets, penalty) - u
        if (value > 0.0) == (at_near > 0.0):
            near, at_near = force, value
        else:
            far, at_far = force, value
    return near if abs(at_near) < abs(at_far) else far


@kernel
def solve_below_mean(
    V, C, U, window, penalty, ridge, kappa, rho, decrease, sample_weight=None
):  # fmt: skip
    """``V = argmin f`` for the mean: ``v_i = prox_s(c_i + force / kappa_i, 1 / kappa_i)``.

    The number ``force = rho/q (u - mean v)`` is the same for all i; see `_force`.

    Parameters
    ----------
    V, C : (m, d) arrays, float32 or float64
        V is updated in place.
    U : (m, d / q) array
    window : Window
    penalty : Formula
        s.
    ridge : float or None
        The strength of s, if it is a ridge.
    kappa : (d,) float64 array
        > 0.
    rho : float
        > 0.
    decrease : (2,) float64 array or None
        The decrease of f and the squared step, summed over windows and samples, are added to it.
    sample_weight : (m,) float64 array, optional
        The factors of the samples in these sums; default: 1.
    """
    T, offsets = V.dtype.type, window_offsets(window)
    q = len(offsets)
    for n in range(V.shape[0]):
        fallen, moved = 0.0, 0.0
        for k in range(U.shape[1]):
            first, u = first_of_window(window, k), np.float64(U[n, k])
            force = _force(C[n], u, kappa, rho, ridge, first, offsets, penalty)
            before, after = 0.0, 0.0
            for e in range(q):
                i = first + offsets[e]
                c, old = np.float64(C[n, i]), np.float64(V[n, i])
                V[n, i] = T(penalty.prox(c + force / kappa[i], 1.0 / kappa[i]))
                new = np.float64(V[n, i])
                fallen += _fall(old, new, c, kappa[i], penalty)
                moved += (new - old) ** 2
                before += old / q
                after += new / q
            fallen += 0.5 * rho * (before - after) * (before + after - 2.0 * u)
        if decrease is not None:
            weight = 1.0 if sample_weight is None else sample_weight[n]
            decrease[0] += weight * fallen
            decrease[1] += weight * moved


@scalar
def _raise_one(free, largest, u, c, kappa, rho, first, offsets, penalty):
    """Move one number of `free` (q,) to the maximum; `u` is above all of them."""
    chosen, level, least = 0, free[0], np.inf
    for e in range(len(offsets)):
        i = first + offsets[e]
        curvature, center = kappa[i] + rho, np.float64(c[i])
        t = penalty.prox((kappa[i] * center + rho * u) / curvature, 1.0 / curvature)
        t = max(t, largest)
        value = 0.5 * rho * (u - t) ** 2 - _fall(free[e], t, center, kappa[i], penalty)
        if value < least:
            chosen, level, least = e, t, value
    free[chosen] = level


@scalar
def _lower(free, u, c, kappa, rho, first, offsets, penalty):
    """``free = min(free, t)`` with the best t; `u` is at most the largest of `free` (q,)."""
    level = -np.inf
    for _ in range(len(offsets) + 1):
        count, curvature, center = 0, rho, rho * u
        for e in range(len(offsets)):
            i = first + offsets[e]
            if free[e] > level:
                count += 1
                curvature += kappa[i]
                center += kappa[i] * np.float64(c[i])
        t = penalty.prox(center / curvature, count / curvature)
        if not (count > 0 and t > level):
            break
        level = t
    for e in range(len(offsets)):
        free[e] = min(free[e], level)


@kernel
def solve_below_maximum(
    V, C, U, window, penalty, kappa, rho, decrease, sample_weight=None
):  # fmt: skip
    """``V = argmin f`` for the maximum, globally, with ``p_i = prox_s(c_i, 1 / kappa_i)``.

    .. code-block:: text

        u > max p    v = p but for one i, the best:
                     v_i = max(max p, prox_s((kappa_i c_i + rho u) / k, 1 / k)),  k = kappa_i + rho
        otherwise    v = min(p, t),  t = prox_s((sum kappa_i c_i + rho u) / k, count / k),
                     k = sum kappa_i + rho, summed over the count of i with p_i > t

    The arguments are as in `solve_below_mean`.
    """
    T, offsets = V.dtype.type, window_offsets(window)
    q = len(offsets)
    v = np.empty(q, np.float64)
    for n in range(V.shape[0]):
        fallen, moved = 0.0, 0.0
        for k in range(U.shape[1]):
            first, u, largest = first_of_window(window, k), np.float64(U[n, k]), -np.inf
            for e in range(q):
                i = first + offsets[e]
                v[e] = penalty.prox(np.float64(C[n, i]), 1.0 / kappa[i])
                largest = max(largest, v[e])
            if u > largest:
                _raise_one(v, largest, u, C[n], kappa, rho, first, offsets, penalty)
            else:
                _lower(v, u, C[n], kappa, rho, first, offsets, penalty)
            before, after = -np.inf, -np.inf
            for e in range(q):
                i = first + offsets[e]
                old, V[n, i] = np.float64(V[n, i]), T(v[e])
                new = np.float64(V[n, i])
                fallen += _fall(old, new, np.float64(C[n, i]), kappa[i], penalty)
                moved += (new - old) ** 2
                before, after = max(before, old), max(after, new)
            fallen += 0.5 * rho * (before - after) * (before + after - 2.0 * u)
        if decrease is not None:
            weight = 1.0 if sample_weight is None else sample_weight[n]
            decrease[0] += weight * fallen
            decrease[1] += weight * moved


@scalar
def _square_of_tied(low, high, slope):
    """The smallest ``|g|^2`` with ``g_i in [low_i, high_i] + w_i slope``, w in the unit simplex.

    For ``slope < 0`` w has one element 1 and zeros. low, high (count,).
    """
    total, gain = 0.0, np.inf
    for i in range(len(low)):
        rest = _nearest_to_zero(low[i], high[i]) ** 2
        total += rest
        gain = min(gain, _nearest_to_zero(low[i] + slope, high[i] + slope) ** 2 - rest)
    if slope <= 0.0:
        return total + (gain if slope < 0.0 else 0.0)
    # Water of volume `slope` is poured on the ground `high` up to a level below 0, or else on the
    # ground `low` up to a level above 0. Between them the level is 0.
    under, over = 0.0, 0.0
    for i in range(len(low)):
        under += max(-high[i], 0.0)
        over += max(-low[i], 0.0)
    ground, level = (high if under >= slope else low), np.inf
    if under < slope <= over:
        level = 0.0
    for _ in range(0 if level == 0.0 else len(low) + 1):
        count, volume = 0, slope
        for i in range(len(low)):
            if ground[i] < level:
                count += 1
                volume += ground[i]
        if not (count > 0 and volume / count < level):
            break
        level = volume / count
    total = 0.0
    for i in range(len(low)):
        rest = _nearest_to_zero(low[i], high[i])
        total += (level if ground[i] < level else rest) ** 2
    return total


@kernel
def subgradient_below_maximum(penalty, V, G, R, window, sample_weight=None):
    """``sum_i c_i |G_i + ds(V_i) - dA(V_i) R_i|^2``, in float64, of the subgradient nearest to 0.

    V, G (m, d): states and gradient of the smooth part; R (m, d / q) is minus the slope of F in the
    maxima; s is `penalty`, window a `Window`; c is `sample_weight` (m,) float64, 1 for each where
    it is None. Where R < 0, dA has all weighted means of the numbers that are the maximum; where
    R > 0 it has each of them.
    """
    offsets, total = window_offsets(window), 0.0
    q = len(offsets)
    lows, highs = np.empty(q, np.float64), np.empty(q, np.float64)
    for n in range(V.shape[0]):
        c, square = 1.0 if sample_weight is None else sample_weight[n], 0.0
        for k in range(R.shape[1]):
            first, count = first_of_window(window, k), 0
            largest = V[n, first]
            for e in range(q):
                largest = max(largest, V[n, first + offsets[e]])
            for e in range(q):
                i = first + offsets[e]
                low, high = penalty.subdifferential(np.float64(V[n, i]))
                low, high = G[n, i] + low, G[n, i] + high
                if V[n, i] == largest:
                    lows[count], highs[count] = low, high
                    count += 1
                else:
                    square += _nearest_to_zero(low, high) ** 2
            square += _square_of_tied(lows[:count], highs[:count], -np.float64(R[n, k]))
        total += c * square
    return total
