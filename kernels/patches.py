"""Convolution of flattened images by products: patches of a few images at a time form a matrix.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0. No kernel here holds more than `GROUP_BYTES` of patches, unless one image alone has more.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastbcd.kernels.blas import product, product_transposed
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


class Places(NamedTuple):
    """Some pixels of an image of this width: pixel (y, x) of them is (step_y y + first_y, ...)."""

    width: int
    step_y: int
    step_x: int
    first_y: int
    first_x: int


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
                    for j in range(low, high):
                        out[k, start + j] = images[n, source + j]
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
def convolve_transposed(V, R, W, window, places, scale, keep):
    """``V = scale P W + keep V`` at some pixels of the images V, P being the patches of R.

    These pixels have the same remainder by the stride of a convolution, so that the same of its
    weights reach them. One call for each remainder gives the adjoint: each pixel is written once.

    Parameters
    ----------
    V : (m, height width channels) array
    R : (m, h w d) array
        Images in the space of the convolution's results.
    W : (patch_height patch_width d, channels) array
        Weights that reach these pixels, their order turned around in both directions.
    window : Window
        The patches of R, one for each of the pixels.
    places : Places
        The pixels of V.
    scale, keep : float
        With ``keep`` 0 the old V is not read. Memory for the patches of one group is allocated.
    """
    T, C = V.dtype.type, W.shape[1]
    a, b = T(scale), T(keep)
    positions, size = window.rows * window.columns, images_at_once(window, V.itemsize)
    most = min(size, V.shape[0]) * positions
    patches, sums = np.empty((most, W.shape[0]), V.dtype), np.empty((most, C), V.dtype)
    for start in range(0, V.shape[0], size):
        stop = min(start + size, V.shape[0])
        P, S = patches[: (stop - start) * positions], sums[: (stop - start) * positions]
        gather_patches(P, R[start:stop], window)
        product(S, P, W, 1.0, 0.0)
        k = 0
        for n in range(start, stop):
            for y in range(window.rows):
                line = (y * places.step_y + places.first_y) * places.width + places.first_x
                for x in range(window.columns):
                    pixel = (line + x * places.step_x) * C
                    for c in range(C):
                        new = a * S[k, c]
                        if b != T(0):
                            new += b * V[n, pixel + c]
                        V[n, pixel + c] = new
                    k += 1
