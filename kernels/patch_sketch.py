"""Products of the patches of images with their own Gram matrix, some images at a time."""

from __future__ import annotations

from functools import cache

import numpy as np

from fastbcd.kernels.convolution import convolution_gradient, convolve
from fastbcd.kernels.patches import PATCH_BYTES


@cache
def patches_of_pixels(window):
    """Return (height, width): the number of patches that have each pixel of an image."""
    starts = [
        np.arange(window.rows) * window.step_y + window.first_y,
        np.arange(window.columns) * window.step_x + window.first_x,
    ]
    pixels = [np.arange(window.height)[:, None], np.arange(window.width)[:, None]]
    sizes = window.patch_height, window.patch_width
    return np.outer(
        *(
            ((pixel >= start) & (pixel < start + size)).sum(axis=1)
            for pixel, start, size in zip(pixels, starts, sizes, strict=True)
        )
    )


def patch_sketch(out, V, Q, window, scale, keep):
    """``out = scale sum_p P^_p^T (P^_p Q) + keep out``; returns ``sum_p |P^_p|^2``.

    The sums are over the patches ``P^_p = [P_p, 1]`` at all positions of the images V (m, height
    width channels); Q and `out` (patch_height patch_width channels + 1, rank); `window` is a
    `Window`. With ``keep`` 0 the old `out` is not read.
    """
    n, patch = window.rows * window.columns, window.patch_height * window.patch_width
    size = max(1, PATCH_BYTES // max(n * patch * window.channels * V.itemsize, 1))
    total = np.zeros(out.shape[::-1], out.dtype)
    weights, bias = np.ascontiguousarray(Q[:-1].T), np.ascontiguousarray(Q[-1])
    for start in range(0, len(V), size):
        images = V[start : start + size]
        part = np.empty((len(images) * n, Q.shape[1]), Q.dtype)
        convolve(part, images, weights, bias, window)
        convolution_gradient(total, part, images, window, scale, 1.0)
    if keep == 0.0:  # the old values may be anything, NaN too
        out[...] = total.T
    else:
        out *= out.dtype.type(keep)
        out += total.T
    squares = np.square(V, dtype=np.float64).sum(axis=0)
    squares = squares.reshape(window.height, window.width, window.channels)
    return (patches_of_pixels(window) * squares.sum(axis=2)).sum() + len(V) * n
