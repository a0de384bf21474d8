"""Convolution of flattened images by products: patches of a few images at a time form a matrix.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0. No kernel here holds more than `GROUP_BYTES` of patches, unless one image alone has more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastbcd.kernels.blas import product, product_transposed
from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel
from fastbcd.kernels.preactivation import affine

# The patches of a group of images stay in the processor's cache until the product has read them.
GROUP_BYTES = 2**18


class Window(NamedTuple):
    """The patches of an image: patch (y, x) begins at pixel (step_y y + first_y, ...)."""

    height: int
    width: int
    channels: int
    patch_height: int
    patch_width: int
    step_y: int
    step_x: int
    first_y: int
    first_x: int
    rows: int
    columns: int


@kernel
def images_at_once(window, itemsize):
    """Return how many images have at most `GROUP_BYTES` of patches together; at least 1."""
    patch = window.patch_height * window.patch_width * window.channels
    return max(1, GROUP_BYTES // max(window.rows * window.columns * patch * itemsize, 1))


@kernel
def gather_patches(out, images, window):
    """``out[n, y, x, i, j, c] = images[n, step_y y + first_y + i, step_x x + first_x + j, c]``.

    images (m, height width channels); out (m rows columns, patch_height patch_width channels),
    with zeros where a patch reaches beyond the image; `window` is a `Window`.
    """
    C = window.channels
    line, k = window.patch_width * C, 0
    for n in range(images.shape[0]):
        for y in range(window.rows):
            top = y * window.step_y + window.first_y
            for x in range(window.columns):
                left = x * window.step_x + window.first_x
                # Elements low..high of a line of the patch lie within the image, and side by side.
                low = min(max(-left, 0), window.patch_width) * C
                high = max(min(window.width - left, window.patch_width) * C, low)
                for i in range(window.patch_height):
                    start = i * line
                    if top + i < 0 or top + i >= window.height:
                        for j in range(line):
                            out[k, start + j] = 0.0
                        continue
                    source = ((top + i) * window.width + left) * C
                    for j in range(low):
                        out[k, start + j] = 0.0
                    copy_run(out, k, start + low, images, n, source + low, high - low)
                    for j in range(high, line):
                        out[k, start + j] = 0.0
                k += 1


@kernel
def convolve(U, V, W, bias, window):
    """``U = P W^T + bias``, P being the patches of V, a group of images at a time.

    V (m, height width channels), U (m rows columns, d), W (d, patch_height patch_width channels),
    bias (d,) or None for 0; `window` is a `Window`. It allocates the patches of one group.
    """
    positions, size = window.rows * window.columns, images_at_once(window, V.itemsize)
    patches = np.empty((min(size, V.shape[0]) * positions, W.shape[1]), V.dtype)
    for start in range(0, V.shape[0], size):
        stop = min(start + size, V.shape[0])
        P = patches[: (stop - start) * positions]
        gather_patches(P, V[start:stop], window)
        out = U[start * positions : stop * positions]
        if bias is None:
            product_transposed(out, P, W, 1.0, 0.0)
        else:
            affine(out, P, W, bias)


@kernel
def transposed_window(window, d):
    """Return the `Window` of the patches of a convolution's results, for `convolve_transposed`.

    Pixels ``step q + r + first`` of an image, r = 0..step - 1, are reached from the positions
    ``q, q - 1, ...`` by the elements ``r, r + step, ...`` of the kernel. So patch q has these
    positions, and there is one for each q that has a pixel. `d` is the number of channels there.
    """
    tall = (window.patch_height + window.step_y - 1) // window.step_y
    wide = (window.patch_width + window.step_x - 1) // window.step_x
    q_y, q_x = -window.first_y // window.step_y, -window.first_x // window.step_x
    rows = (window.height - 1 - window.first_y) // window.step_y - q_y + 1
    columns = (window.width - 1 - window.first_x) // window.step_x - q_x + 1
    first_y, first_x = q_y - tall + 1, q_x - wide + 1
    return Window(
        window.rows, window.columns, d, tall, wide, 1, 1, first_y, first_x, rows, columns
    )  # fmt: skip


@kernel
def place_pixels(V, S, window, back, scale, keep):
    """``V = scale S + keep V``, each row of S being the pixels ``step q + r + first`` of a q.

    V (m, height width channels); S (m rows columns, step_y step_x channels) has a row for each
    image and each q of `back`, which is the `transposed_window` of `window`. With ``keep`` 0 the
    old V is not read.
    """
    T, C = V.dtype.type, window.channels
    a, b = T(scale), T(keep)
    q_y, q_x = back.first_y + back.patch_height - 1, back.first_x + back.patch_width - 1
    run, k = window.step_x * C, 0
    for n in range(V.shape[0]):
        for y in range(back.rows):
            top = window.step_y * (y + q_y) + window.first_y
            for x in range(back.columns):
                left = window.step_x * (x + q_x) + window.first_x
                low = max(-left, 0) * C
                high = min(window.width - left, window.step_x) * C
                for i in range(max(-top, 0), min(window.height - top, window.step_y)):
                    source = i * run
                    to = ((top + i) * window.width + left) * C
                    if b == T(0):
                        for j in range(low, high):
                            V[n, to + j] = a * S[k, source + j]
                    else:
                        for j in range(low, high):
                            V[n, to + j] = a * S[k, source + j] + b * V[n, to + j]
                k += 1


@kernel
def convolve_transposed(V, R, W, window, scale, keep):
    """``V = scale A*(R) + keep V``, the adjoint of `convolve`, without adding to any pixel twice.

    Parameters
    ----------
    V : (m, height width channels) array
    R : (m, rows columns d) array
        Images in the space of the convolution's results.
    W : (n, step_y step_x channels) array
        Weights for the patches of R, n elements each, in the order of `transposed_window`.
    window : Window
        That of the convolution.
    scale, keep : float
        With ``keep`` 0 the old V is not read. Memory for the patches of one group is allocated.
    """
    m, d = V.shape[0], R.shape[1] // (window.rows * window.columns)
    back = transposed_window(window, d)
    positions, size = back.rows * back.columns, images_at_once(back, V.itemsize)
    most = min(size, m) * positions
    patches, sums = np.empty((most, W.shape[0]), V.dtype), np.empty((most, W.shape[1]), V.dtype)
    for start in range(0, m, size):
        stop = min(start + size, m)
        P, S = patches[: (stop - start) * positions], sums[: (stop - start) * positions]
        gather_patches(P, R[start:stop], back)
        product(S, P, W, 1.0, 0.0)
        place_pixels(V[start:stop], S, window, back, scale, keep)
