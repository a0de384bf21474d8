"""Pooling of flattened images on a GPU; `fastbcd.kernels.pooling` says how the numbers lie.

A thread has one window of several images, or one of their pixels. All that it writes is its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.patches import as_factor, divided
from fastbcd.kernels.cuda.target import elements, gpu_kernel, launch, number, shared_scalar
from fastbcd.kernels.pooling import first_of_window as _first_of_window

first_of_window = shared_scalar(_first_of_window)


@gpu_kernel
def _mean_of_windows(U, V, window):
    i, j, down, turns = elements(*U.shape)
    first = first_of_window(window, np.int64(j))
    q = window.patch_height * window.patch_width
    for _ in range(turns):
        own = 0.0
        for y in range(window.patch_height):
            for x in range(window.patch_width):
                own += np.float64(V[i, first + (y * window.width + x) * window.channels])
        U[i, j] = own / q
        i += down


def mean_of_windows(U: Any, V: Any, window: Any) -> None:
    """``U = mean of each window of V``; arguments as in `fastbcd.kernels.mean_of_windows`."""
    launch(_mean_of_windows, U.shape, U, V, window)


@gpu_kernel
def _maximum_of_windows(U, V, window):
    i, j, down, turns = elements(*U.shape)
    first = first_of_window(window, np.int64(j))
    for _ in range(turns):
        largest = V[i, first]
        for y in range(window.patch_height):
            for x in range(window.patch_width):
                v = V[i, first + (y * window.width + x) * window.channels]
                # NaN where a number is NaN.
                if v > largest or v != v:
                    largest = v
        U[i, j] = largest
        i += down


def maximum_of_windows(U: Any, V: Any, window: Any) -> None:
    """``U = maximum of each window of V``; arguments as in `fastbcd.kernels.maximum_of_windows`."""
    launch(_maximum_of_windows, U.shape, U, V, window)


@gpu_kernel
def _spread_means(V, R, window, scale, q, keep):
    i, j, down, turns = elements(*V.shape)
    pixel, channel = divided(j, window.channels)
    row, column = divided(pixel, window.width)
    y, x = row // window.patch_height, column // window.patch_width
    k = (y * window.columns + x) * window.channels + channel
    a, b = number(scale) / q, keep
    for _ in range(turns):
        share = a * R[i, k]
        V[i, j] = share if b == V.dtype.type(0) else share + b * V[i, j]
        i += down


def spread_means(V: Any, R: Any, window: Any, scale: Any, keep: float) -> None:
    """``V = scale A*(R) + keep V``; arguments as in `fastbcd.kernels.spread_means`.

    scale may be an element on the GPU.
    """
    T, q = V.dtype.type, window.patch_height * window.patch_width
    launch(_spread_means, V.shape, V, R, window, as_factor(scale, V.dtype), T(q), T(keep))


@gpu_kernel
def _spread_maxima(D, R, V, window, scale, keep):
    i, j, down, turns = elements(*R.shape)
    first = first_of_window(window, np.int64(j))
    a, b, zero = number(scale), keep, D.dtype.type(0)
    for _ in range(turns):
        largest, rest = V[i, first], R[i, j]
        for y in range(window.patch_height):
            for x in range(window.patch_width):
                v = V[i, first + (y * window.width + x) * window.channels]
                if v > largest or v != v:
                    largest = v
        for y in range(window.patch_height):
            for x in range(window.patch_width):
                to = first + (y * window.width + x) * window.channels
                share = zero
                if V[i, to] >= largest:
                    share, rest = a * rest, zero
                D[i, to] = share if b == zero else share + b * D[i, to]
        i += down


def spread_maxima(D: Any, R: Any, V: Any, window: Any, scale: Any, keep: float) -> None:
    """``D = scale B R + keep D``; arguments as in `fastbcd.kernels.spread_maxima`.

    scale may be an element on the GPU.
    """
    factor = as_factor(scale, D.dtype)
    launch(_spread_maxima, R.shape, D, R, V, window, factor, D.dtype.type(keep))
