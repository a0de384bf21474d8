"""Kernels around factorisations of small systems on a GPU: scaling, right-hand sides, decreases.

The W-block solves ``D H = N``, ``H = weight V^^T V^ + diag(shift)`` scaled to unit diagonal, in
float64 (`fastbcd.kernels.gram_solve`). On a processor an eigen-decomposition takes over where H
is not positive definite beyond the noise of its products. That needs a decision on the host, for
which a GPU would wait. Here the noise is added to the unit diagonal instead,

    D = N E (E H E + noise I)^-1 E,     E = diag(scale).

The step is the same where H is larger than the noise and goes to 0 where H is smaller. It descends
in any case: F falls by ``1/2 <D, N> + noise/2 |D E^-1|^2`` (and alpha's part).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    cuda,
    elements,
    gpu_kernel,
    launch,
    launch_rows,
    leave_sums,
    number,
    total,
)


@gpu_kernel
def _scaling(scale, gram, weight, ridge, alpha, failures):
    d = gram.shape[0]
    for i in range(cuda.grid(1), d, cuda.gridsize(1)):
        diagonal = number(weight) * gram[i, i] + (ridge + alpha if i < d - 1 else alpha)
        if not math.isfinite(diagonal):
            failures[0] = 1
        scale[i] = 1.0 / math.sqrt(diagonal) if diagonal > 0.0 else 0.0


@gpu_kernel
def _scaled_system(out, scale, gram, weight, noise):
    i, j, down, turns = elements(*out.shape)
    w = number(weight)
    for _ in range(turns):
        if i == j:
            out[i, i] = 1.0 + noise
        else:
            out[i, j] = w * gram[max(i, j), min(i, j)] * scale[i] * scale[j]
        i += down


def scaled_system(
    out: Any,
    scale: Any,
    gram: Any,
    weight: Any,
    ridge: float,
    alpha: float,
    noise: float,
    failures: Any,
) -> None:
    """``out = E H E + noise I`` with ``E = diag(scale) = diag(H)^(-1/2)``.

    Parameters
    ----------
    out : (d, d) float64 array
        Both triangles.
    scale : (d,) float64 array
        Written.
    gram : (d, d) float64 array
        Lower triangle.
    weight : float or (1,) array
    ridge, alpha : float
        ``H = weight gram + diag(ridge + alpha)``; the bias, the last column, has no ridge.
    noise : float
    failures : (1,) int32 array
        Set to 1 where H is not finite.
    """
    launch_rows(_scaling, len(gram), scale, gram, weight, float(ridge), float(alpha), failures)
    launch(_scaled_system, out.shape, out, scale, gram, weight, float(noise))


@gpu_kernel
def _right_hand_side(N, cross, W, weight, ridge, scale, failures):
    i, j, down, turns = elements(*N.shape)
    w, last = number(weight), np.uint64(N.shape[1] - 1)
    for _ in range(turns):
        value = w * cross[i, j]
        if j < last:
            value -= ridge * np.float64(W[i, j])
        if not math.isfinite(value):
            failures[0] = 1
        N[i, j] = value * scale[j]
        i += down


def right_hand_side(
    N: Any, cross: Any, W: Any, weight: Any, ridge: float, scale: Any, failures: Any
) -> None:
    """``N = (weight cross - ridge W) E``; the bias, the last column, has no ridge.

    N, cross, W (m, d); the others as in `scaled_system`.
    """
    launch(_right_hand_side, N.shape, N, cross, W, weight, float(ridge), scale, failures)


@gpu_kernel
def _step(W, step, scale):
    i, j, down, turns = elements(*W.shape)
    for _ in range(turns):
        W[i, j] = np.float64(W[i, j]) + step[i, j] * scale[j]
        i += down


@gpu_kernel
def _step_and_measure(partial, W, step, cross, weight, ridge, alpha, noise, scale):
    i, j, down, turns = elements(*W.shape)
    w, last = number(weight), np.uint64(W.shape[1] - 1)
    decrease = moved = 0.0
    for _ in range(turns):
        solution, old = step[i, j], np.float64(W[i, j])
        change = solution * scale[j]
        slope = w * cross[i, j] - (ridge * old if j < last else 0.0)
        decrease += 0.5 * (change * (slope + alpha * change) + noise * solution * solution)
        moved += change * change
        W[i, j] = old + change
        i += down
    leave_sums(partial, decrease, moved)


def add_scaled_step(
    W: Any,
    step: Any,
    cross: Any,
    weight: Any,
    ridge: float,
    alpha: float,
    noise: float,
    scale: Any,
    decrease: Any,
) -> None:
    """``W = W + step E``, where step solves the scaled system.

    decrease: (2,) float64 array or None; the decrease of F, without the proximal term, and the
    squared step are added to it. Other arguments as in `scaled_system` and `right_hand_side`.
    """
    if decrease is None:
        launch(_step, W.shape, W, step, scale)
    else:
        total(
            _step_and_measure,
            W.shape,
            W,
            step,
            cross,
            weight,
            float(ridge),
            float(alpha),
            float(noise),
            scale,
            sums=2,
            into=decrease,
        )


@gpu_kernel
def _shifted_diagonal(A, shift):
    for i in range(cuda.grid(1), A.shape[0], cuda.gridsize(1)):
        A[i, i] += number(shift)


def shift_diagonal(A: Any, shift: Any) -> None:
    """``A = A + shift I``; A (d, d) float64, shift a number or (1,) on the GPU."""
    launch_rows(_shifted_diagonal, len(A), A, shift)


@gpu_kernel
def _coordinate_hessian(H, gram, weight, alpha):
    i, j, down, turns = elements(*H.shape)
    w = number(weight)
    for _ in range(turns):
        value = w * gram[max(i, j), min(i, j)]
        H[i, j] = value + alpha if i == j else value
        i += down


def coordinate_hessian(H: Any, gram: Any, weight: Any, alpha: float) -> None:
    """``H = weight gram + alpha I``; H is another array than gram.

    Arguments as in `fastbcd.kernels.coordinate_hessian`.
    """
    launch(_coordinate_hessian, H.shape, H, gram, weight, float(alpha))


@gpu_kernel
def _add_state_decrease(decrease, moved, through, kappa, rho):
    if cuda.grid(1) == 0:
        decrease[0] += 0.5 * (kappa * moved[0] + number(rho) * through[0])
        decrease[1] += moved[0]


def add_state_decrease(decrease: Any, moved: Any, through: Any, kappa: float, rho: Any) -> None:
    """``decrease += 1/2 (kappa moved + rho through), moved``, for the V_l-block.

    moved and through are 0-d or (1,) arrays, ``|D|^2`` and ``|D W_next^T|^2``.
    """
    launch_one(
        _add_state_decrease, decrease, moved.reshape(1), through.reshape(1), float(kappa), rho
    )


def launch_one(kernel: Any, *arguments: Any) -> None:
    """Run a kernel that needs one thread only."""
    launch_rows(kernel, 1, *arguments)
