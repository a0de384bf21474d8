"""Patches of flattened images on a GPU: gathered for products, and pixels made of products.

Every thread writes elements of its own, so no sum depends on the order of threads. A thread has one
column, whose place in a patch it finds once, and several rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import (
    elements,
    gpu_function,
    gpu_kernel,
    launch,
    number,
)


@gpu_function
def divided(a, b):
    """``a // b`` and ``a % b`` for ``0 <= a < 2^32``, by one 32-bit division."""
    quotient = np.int64(np.uint32(a) // np.uint32(b))
    return quotient, np.int64(a) - quotient * np.int64(b)


@gpu_kernel
def _gather_patches(out, images, window):
    i, j, down, turns = elements(*out.shape)
    line, rest = divided(j, window.patch_width * window.channels)
    column, channel = divided(rest, window.channels)
    for _ in range(turns):
        patch, x = divided(i, window.columns)
        n, y = divided(patch, window.rows)
        top = y * window.step_y + window.first_y + line
        left = x * window.step_x + window.first_x + column
        if 0 <= top < window.height and 0 <= left < window.width:
            pixel = top * window.width + left
            out[i, j] = images[n, pixel * window.channels + channel]
        else:
            out[i, j] = out.dtype.type(0)
        i += down


def gather_patches(out: Any, images: Any, window: Any) -> None:
    """The patches of images as rows; arguments as in `fastbcd.kernels.gather_patches`."""
    launch(_gather_patches, out.shape, out, images, window)


@gpu_kernel
def _place_pixels(V, S, window, back, scale, keep):
    i, j, down, turns = elements(*V.shape)
    pixel, channel = divided(j, window.channels)
    row, column = divided(pixel, window.width)
    # The pixel is ``step q + r + first``; the first q that has a pixel is that of the first patch.
    y, r_y = divided(row - window.first_y, window.step_y)
    x, r_x = divided(column - window.first_x, window.step_x)
    y -= back.first_y + back.patch_height - 1
    x -= back.first_x + back.patch_width - 1
    source = (r_y * window.step_x + r_x) * window.channels + channel
    a, b = number(scale), keep
    for _ in range(turns):
        value = a * S[(np.int64(i) * back.rows + y) * back.columns + x, source]
        V[i, j] = value if b == V.dtype.type(0) else value + b * V[i, j]
        i += down


def place_pixels(V: Any, S: Any, window: Any, back: Any, scale: Any, keep: float) -> None:
    """``V = scale S + keep V``, each row of S being the pixels ``step q + r + first`` of a q.

    V (m, height width channels); S (m rows columns, step_y step_x channels) has a row for each
    image and each q of `back`, which is the `transposed_window` of `window`. With ``keep`` 0 the
    old V is not read. scale may be an element on the GPU.
    """
    factor = as_factor(scale, V.dtype)
    launch(_place_pixels, V.shape, V, S, window, back, factor, V.dtype.type(keep))


def as_factor(scale: Any, dtype: Any) -> Any:
    """Return a number, or an element on the GPU, in the type `dtype`, as kernels take a factor."""
    if isinstance(scale, int | float | np.number):
        return dtype.type(scale)
    return scale.astype(dtype).reshape(1)


@gpu_kernel
def _transposed_weights(out, W, window):
    i, j, down, turns = elements(*out.shape)
    line, rest = divided(j, window.step_x * window.channels)
    column, channel = divided(rest, window.channels)
    d = W.shape[0]
    wide = (window.patch_width + window.step_x - 1) // window.step_x
    tall = (window.patch_height + window.step_y - 1) // window.step_y
    for _ in range(turns):
        element, o = divided(i, d)
        t_y, t_x = divided(element, wide)
        y = (tall - 1 - t_y) * window.step_y + line
        x = (wide - 1 - t_x) * window.step_x + column
        if y < window.patch_height and x < window.patch_width:
            out[i, j] = W[o, (y * window.patch_width + x) * window.channels + channel]
        else:
            out[i, j] = out.dtype.type(0)
        i += down


def write_transposed_weights(out: Any, W: Any, window: Any) -> None:
    """Write `fastbcd.kernels.transposed_weights` of W (d, patch) into `out`, of its shape."""
    launch(_transposed_weights, out.shape, out, W, window)


@gpu_kernel
def _scaled_sums(out, sums, scale, keep):
    i, j, down, turns = elements(*out.shape)
    a, b = number(scale), keep
    for _ in range(turns):
        value = a * out.dtype.type(sums[i, j])
        out[i, j] = value if b == out.dtype.type(0) else value + b * out[i, j]
        i += down


def scaled_sums(out: Any, sums: Any, scale: Any, keep: float) -> None:
    """``out = scale sums + keep out``; both (m, d), `sums` float64.

    scale may be an element on the GPU; with ``keep`` 0 the old `out` is not read.
    """
    factor = as_factor(scale, out.dtype)
    launch(_scaled_sums, out.shape, out, sums, factor, out.dtype.type(keep))
