"""Pooling of flattened images: each number of the result is the mean or the maximum of a window.

An image is a row of ``height width channels`` numbers, channels last. The windows are the patches
of a `fastbcd.kernels.Window`. They do not overlap, and they fill the image. Each channel has its
own windows, of ``q = patch_height patch_width`` numbers. V has a row for each image, and U a row
with a number for each window, channels last.
"""

from __future__ import annotations

import numpy as np

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


@kernel
def maximum_of_windows(U, V, window):
    """``U = maximum of each window of V``: V (m, d), U (m, d / q); NaN where a number is NaN."""
    C, line = window.channels, window.columns * window.channels
    for n in range(V.shape[0]):
        for y in range(window.rows):
            for i in range(window.patch_height):
                source = (y * window.patch_height + i) * window.width * C
                for x in range(window.columns):
                    to = y * line + x * C
                    for j in range(window.patch_width):
                        for channel in range(C):
                            v = V[n, source + channel]
                            if (i == 0 and j == 0) or v > U[n, to + channel] or v != v:
                                U[n, to + channel] = v
                        source += C


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


@kernel
def spread_maxima(D, R, V, window, scale, keep):
    """``D = scale B R + keep D``: B gives each number of R to the maximum of its window of V.

    Where several numbers are the maximum, the first of them gets it. D, V (m, d), R (m, d / q);
    with ``keep`` 0 the old D is not read.
    """
    T, offsets = D.dtype.type, window_offsets(window)
    a, b = T(scale), T(keep)
    for n in range(D.shape[0]):
        for k in range(R.shape[1]):
            first = first_of_window(window, k)
            largest = first
            for e in range(len(offsets)):
                to = first + offsets[e]
                D[n, to] = T(0) if b == T(0) else b * D[n, to]
                if V[n, to] > V[n, largest]:
                    largest = to
            D[n, largest] += a * R[n, k]
