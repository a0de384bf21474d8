"""Pooling of flattened images: each number of the result is the mean or the maximum of a window.

An image is a row of ``height width channels`` numbers, channels last. The windows are the patches
of a `fastbcd.kernels.Window`. They do not overlap, and they fill the image. Each channel has its
own windows, of ``q = patch_height patch_width`` numbers. V has a row for each image, and U a row
with a number for each window, channels last.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import leading
from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.memory import run_of
from fastbcd.kernels.register_tile import VECTOR_BYTES
from fastbcd.kernels.window_maxima import maximum_of_window, spread_over_window

# For the channels of a vector register, of half a one, and for one channel.
_maximum_1, _spread_1 = maximum_of_window(VECTOR_BYTES), spread_over_window(VECTOR_BYTES)
_maximum_half, _spread_half = (
    maximum_of_window(VECTOR_BYTES // 2),
    spread_over_window(VECTOR_BYTES // 2),
)
_maximum_0, _spread_0 = maximum_of_window(0), spread_over_window(0)


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
def _channels_at_once(channels, lanes):
    """Return how many of the remaining `channels` fill a vector, half a one, or one number."""
    return lanes if channels >= lanes else lanes // 2 if 2 * channels >= lanes else 1


@kernel
def maximum_of_windows(U, V, window):
    """``U = maximum of each window of V``: V (m, d), U (m, d / q); NaN where a number is NaN."""
    lanes, C, offsets = VECTOR_BYTES // U.itemsize, window.channels, window_offsets(window)
    row_of_U, row_of_V = leading(U), leading(V)  # an error unless rows are contiguous
    out, numbers = run_of(U), run_of(V)
    for n in range(V.shape[0]):
        for k in range(0, U.shape[1], C):
            u, v, c = n * row_of_U + k, n * row_of_V + first_of_window(window, k), 0
            while c < C:
                some = _channels_at_once(C - c, lanes)
                if some == lanes:
                    _maximum_1(out, u + c, numbers, v + c, offsets)
                elif some > 1:
                    _maximum_half(out, u + c, numbers, v + c, offsets)
                else:
                    _maximum_0(out, u + c, numbers, v + c, offsets)
                c += some


@kernel
def spread_means(V, R, window, scale, keep):
    """``V = scale A*(R) + keep V``, A being `mean_of_windows`: each number gets ``R / q``.

    V (m, d), R (m, d / q), window a `Window`; with ``keep`` 0 the old V is not read.
    """
    T, C = V.dtype.type, window.channels
    a, b = T(scale / (window.patch_height * window.patch_width)), T(keep)
    for n in range(V.shape[0]):
        to = 0
        for line in range(window.height):
            source = line // window.patch_height * window.columns * C
            for _ in range(window.columns):
                for _ in range(window.patch_width):
                    for channel in range(C):
                        share = a * R[n, source + channel]
                        V[n, to + channel] = share if b == T(0) else share + b * V[n, to + channel]
                    to += C
                source += C


@kernel
def spread_maxima(D, R, V, window, scale, keep):
    """``D = scale B R + keep D``: B gives each number of R to the maximum of its window of V.

    Where several numbers are the maximum, the first of them gets it; in a window with NaN none
    does. D, V (m, d), R (m, d / q);
    with ``keep`` 0 the old D is not read.
    """
    T, C, offsets = D.dtype.type, window.channels, window_offsets(window)
    a, b, lanes = T(scale), T(keep), VECTOR_BYTES // D.itemsize
    # An error unless rows are contiguous.
    row_of_D, row_of_R, row_of_V = leading(D), leading(R), leading(V)
    out, slopes, numbers = run_of(D), run_of(R), run_of(V)
    for n in range(D.shape[0]):
        for k in range(0, R.shape[1], C):
            first, r, c = first_of_window(window, k), n * row_of_R + k, 0
            d, v = n * row_of_D + first, n * row_of_V + first
            while c < C:
                some = _channels_at_once(C - c, lanes)
                if some == lanes:
                    _spread_1(out, d + c, slopes, r + c, numbers, v + c, offsets, a, b)
                elif some > 1:
                    _spread_half(out, d + c, slopes, r + c, numbers, v + c, offsets, a, b)
                else:
                    _spread_0(out, d + c, slopes, r + c, numbers, v + c, offsets, a, b)
                c += some
