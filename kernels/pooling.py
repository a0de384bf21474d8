"""Pooling of flattened images: each number of the result is the mean or the maximum of a window.

An image is a row of ``height width channels`` numbers, channels last. The windows are the patches
of a `fastbcd.kernels.Window`. They do not overlap, and they fill the image. Each channel has its
own windows, of ``q = patch_height patch_width`` numbers. V has a row for each image, and U a row
with a number for each window, channels last.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel, scalar


@scalar
def window_offsets(window):
    """Return (q,): where the numbers of a window lie, counted from its first one."""
    offsets = np.empty(window.patch_height * window.patch_width, np.int64)
    for i in range(window.patch_height):
        for j in range(window.patch_width):
            offsets[i * window.patch_width + j] = (i * window.width + j) * window.channels
    return offsets


@scalar
def first_of_window(window, k):
    """Return the column of V with the first number of the window that makes column k of U."""
    line = window.columns * window.channels
    y, rest = k // line, k % line
    x, channel = rest // window.channels, rest % window.channels
    pixel = y * window.patch_height * window.width + x * window.patch_width
    return pixel * window.channels + channel


@kernel
def mean_of_windows(U, V, window):
    """``U = mean of each window of V``: V (m, d), U (m, d / q); the sums are float64."""
    T, C, line = U.dtype.type, window.channels, window.columns * window.channels
    q = window.patch_height * window.patch_width
    sums = np.empty(line, np.float64)
    for n in range(V.shape[0]):
        for y in range(window.rows):
            sums[:] = 0.0
            for i in range(window.patch_height):
                source = (y * window.patch_height + i) * window.width * C
                for x in range(window.columns):
                    for _ in range(window.patch_width):
                        for channel in range(C):
                            sums[x * C + channel] += V[n, source + channel]
                        source += C
            for k in range(line):
                U[n, y * line + k] = T(sums[k] / q)


@scalar
def _raise_to(U, V):
    """``U = max(U, V)``, element by element; NaN where either is NaN. U, V (channels,)."""
    for c in range(len(U)):
        u, v = U[c], V[c]
        # A choice without a branch: the loop becomes vector instructions.
        U[c] = v if v > u or v != v else u


@kernel
def maximum_of_windows(U, V, window):
    """``U = maximum of each window of V``: V (m, d), U (m, d / q); NaN where a number is NaN."""
    C, offsets = window.channels, window_offsets(window)
    for n in range(V.shape[0]):
        for k in range(0, U.shape[1], C):
            first = first_of_window(window, k)
            copy_run(U, n, k, V, n, first, C)
            for e in range(1, len(offsets)):
                start = first + offsets[e]
                _raise_to(U[n, k : k + C], V[n, start : start + C])


@kernel
def spread_means(V, R, window, scale, keep):
    """``V = scale A*(R) + keep V``, A being `mean_of_windows`: each number gets ``R / q``.

    V (m, d), R (m, d / q), window a `Window`; with ``keep`` 0 the old V is not read.
    """
    T, offsets = V.dtype.type, window_offsets(window)
    a, b = T(scale / len(offsets)), T(keep)
    for n in range(V.shape[0]):
        for k in range(R.shape[1]):
            first, share = first_of_window(window, k), a * R[n, k]
            for e in range(len(offsets)):
                to = first + offsets[e]
                V[n, to] = share if b == T(0) else share + b * V[n, to]


@scalar
def _give_to_maxima(D, V, largest, rest, scale, keep):
    """Give ``rest`` to the numbers of V that are `largest`; what is given is gone. All (channels,).

    ``D = scale rest + keep D`` there, and ``D = keep D`` elsewhere; with ``keep`` 0 the old D is
    not read.
    """
    zero = D.dtype.type(0)
    for c in range(len(D)):
        # Choices without a branch: the loop becomes vector instructions.
        r = rest[c]
        chosen = V[c] >= largest[c]
        share = scale * r if chosen else zero
        D[c] = share if keep == zero else share + keep * D[c]
        rest[c] = zero if chosen else r


@kernel
def spread_maxima(D, R, V, window, scale, keep):
    """``D = scale B R + keep D``: B gives each number of R to the maximum of its window of V.

    Where several numbers are the maximum, the first of them gets it. D, V (m, d), R (m, d / q);
    with ``keep`` 0 the old D is not read.
    """
    T, C, offsets = D.dtype.type, window.channels, window_offsets(window)
    largest, rest = np.empty((1, C), V.dtype), np.empty((1, C), R.dtype)
    for n in range(D.shape[0]):
        for k in range(0, R.shape[1], C):
            first = first_of_window(window, k)
            copy_run(rest, 0, 0, R, n, k, C)
            copy_run(largest, 0, 0, V, n, first, C)
            for e in range(1, len(offsets)):
                start = first + offsets[e]
                _raise_to(largest[0], V[n, start : start + C])
            for e in range(len(offsets)):
                start = first + offsets[e]
                run = slice(start, start + C)
                _give_to_maxima(D[n, run], V[n, run], largest[0], rest[0], T(scale), T(keep))
