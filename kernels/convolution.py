"""The convolution of flattened images, its adjoint, and its gradient in the weights.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0. No matrix of patches is formed: each image is framed by the zeros around it, and a
`register_tile` reads the patches of several positions from there. Weights and slopes are packed
into blocks of as many columns as a tile has.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import leading
from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.patches import place_pixels, transposed_window
from fastbcd.kernels.register_tile import ROWS, VECTOR_BYTES, register_tile

HALF = ROWS // 2
# Names: rows of the tile, then its number of vectors.
_whole_2, _whole_1 = register_tile(ROWS, 2), register_tile(ROWS, 1)
_half_2, _half_1 = register_tile(HALF, 2), register_tile(HALF, 1)
# A gradient is summed over so many positions at a time, whose slopes stay in the fastest cache.
POSITIONS = 96


@scalar
def _aligned(n, like):
    """Return (n,) zeros of the type of `like`, at an address that suits vector registers."""
    memory = np.zeros(n + VECTOR_BYTES // like.itemsize, like.dtype)
    start = -memory.ctypes.data % VECTOR_BYTES // like.itemsize
    return memory[start : start + n]


@scalar
def _vectors(columns, lanes):
    """Return how many numbers so many columns have with those that fill the last vector."""
    return (columns + lanes - 1) // lanes * lanes


@scalar
def _block_width(columns, lanes):
    """Return the width of the first block of the remaining `columns`: two vectors, or one."""
    return 2 * lanes if columns > lanes else lanes


@scalar
def _halves(count):
    """Return `count`, or what is missing to whole and half tiles added to it."""
    return (count + HALF - 1) // HALF * HALF


@kernel
def _tiles(
    out, o, row_of_out, first, f, row_of_first, X, x, row, line, step, lines, length, Y, y, block,
    count, lanes,
):  # fmt: skip
    """Compute `count` rows of a block by whole and half tiles; see `register_tile`.

    All arrays have one dimension, so this is compiled once for each type. It holds all the code of
    tiles, which takes long to compile.
    """
    p = 0
    while p < count:
        to, start, source = o + p * row_of_out, f + p * row_of_first, x + p * row
        if count - p >= ROWS:
            if block > lanes:
                _whole_2(out, to, row_of_out, first, start, row_of_first, X, source, row, line,
                         step, lines, length, Y, y, block)  # fmt: skip
            else:
                _whole_1(out, to, row_of_out, first, start, row_of_first, X, source, row, line,
                         step, lines, length, Y, y, block)  # fmt: skip
            p += ROWS
        else:
            if block > lanes:
                _half_2(out, to, row_of_out, first, start, row_of_first, X, source, row, line,
                        step, lines, length, Y, y, block)  # fmt: skip
            else:
                _half_1(out, to, row_of_out, first, start, row_of_first, X, source, row, line,
                        step, lines, length, Y, y, block)  # fmt: skip
            p += HALF


@kernel
def pack(A):
    """Return the columns of A (k, n) in blocks of one or two vectors, each (k, width), with zeros.

    The block that begins with column c begins at element ``k c``.
    """
    lanes = VECTOR_BYTES // A.itemsize
    k, n = A.shape
    packed = _aligned(k * _vectors(n, lanes), A)
    start = 0
    while start < n:
        width = _block_width(n - start, lanes)
        for j in range(min(width, n - start)):
            for i in range(k):
                packed[k * start + i * width + j] = A[i, start + j]
        start += width
    return packed


@scalar
def _frame_sizes(window):
    """Return height and width of the part of the padded image that the patches cover."""
    height = window.step_y * (window.rows - 1) + window.patch_height
    width = window.step_x * (window.columns - 1) + window.patch_width
    return height, width


@scalar
def _frame(frame, V, n, window):
    """Copy image n of V into the frame (height width channels,); pixels outside stay 0."""
    height, width = _frame_sizes(window)
    left = max(-window.first_x, 0)
    count = min(width, window.width - window.first_x) - left
    for y in range(max(-window.first_y, 0), min(height, window.height - window.first_y)):
        source = ((y + window.first_y) * window.width + left + window.first_x) * window.channels
        to = (y * width + left) * window.channels
        copy_run(frame.reshape(1, -1), 0, to, V, n, source, max(count, 0) * window.channels)


@kernel
def convolve_packed(U, V, W, bias, window):
    """``U = P W + bias`` with the patches P of V: `convolve` with weights from `pack`.

    V (m, height width channels), U (m rows columns, d); W from `pack` of (patch, d), bias (d,) or
    None for 0; `window` is a `Window`.
    """
    lanes, C, d = VECTOR_BYTES // U.itemsize, window.channels, U.shape[1]
    leading(U)  # an error unless rows are contiguous
    leading(V)
    height, width = _frame_sizes(window)
    length, row, line = window.patch_width * C, window.step_x * C, width * C
    frame = _aligned(height * line + ROWS * row, U)
    k = window.patch_height * length
    first = _aligned(_vectors(d, lanes), U)
    if bias is not None:
        first[:d] = bias
    # The results of a line of positions; a half tile may compute more of them than there are.
    count = _halves(window.columns)
    results = _aligned(count * 2 * lanes, U)
    as_row = results.reshape(1, -1)
    for n in range(V.shape[0]):
        _frame(frame, V, n, window)
        start = 0
        while start < d:
            block = _block_width(d - start, lanes)
            for y in range(window.rows):
                top, o = y * window.step_y, (n * window.rows + y) * window.columns
                # Lines of the patch outside the image are 0, and left out.
                above = max(-window.first_y - top, 0)
                lines = min(window.patch_height, window.height - window.first_y - top) - above
                x, w = (top + above) * line, k * start + above * length * block
                _tiles(
                    results, 0, block, first, start, 0, frame, x, row, line, 1, max(lines, 0),
                    length, W, w, block, count, lanes,
                )  # fmt: skip
                for p in range(window.columns):
                    copy_run(U, o + p, start, as_row, 0, p * block, min(block, d - start))
            start += block


@kernel
def convolve(U, V, W, bias, window):
    """``U = P W^T + bias``, P being the patches of V.

    V (m, height width channels), U (m rows columns, d), W (d, patch_height patch_width channels),
    bias (d,) or None for 0; `window` is a `Window`. It allocates the packed weights, and memory for
    one image.
    """
    convolve_packed(U, V, pack(W.T), bias, window)


def transposed_weights(W, window):
    """Return W for `convolve_transposed`: (elements d, step_y step_x channels).

    W (d, patch_height patch_width channels), of the `Window` `window`. There are 0s where the
    kernel ends within a step.
    """
    d, C = len(W), window.channels
    k_y, k_x, s_y, s_x = window.patch_height, window.patch_width, window.step_y, window.step_x
    t_y, t_x = -(-k_y // s_y), -(-k_x // s_x)
    padded = np.zeros((d, t_y * s_y, t_x * s_x, C), W.dtype)
    padded[:, :k_y, :k_x] = W.reshape(d, k_y, k_x, C)
    # Axes: channel, element t, remainder r of the kernel's line r + step t, and columns so.
    by_remainder = padded.reshape(d, t_y, s_y, t_x, s_x, C)[:, ::-1, :, ::-1]
    order = np.ascontiguousarray(by_remainder.transpose(1, 3, 0, 2, 4, 5))
    return order.reshape(t_y * t_x * d, s_y * s_x * C)


@kernel
def convolve_transposed(V, R, W, window, scale, keep):
    """``V = scale A*(R) + keep V``, the adjoint of `convolve`, without adding to any pixel twice.

    Parameters
    ----------
    V : (m, height width channels) array
    R : (m, rows columns d) array
        Images in the space of the convolution's results.
    W : (n, step_y step_x channels) array
        `transposed_weights`: those for the patches of R, n elements each, in the order of
        `transposed_window`.
    window : Window
        That of the convolution.
    scale, keep : float
        With ``keep`` 0 the old V is not read. Memory for one image is allocated.
    """
    d = R.shape[1] // (window.rows * window.columns)
    back, packed = transposed_window(window, d), pack(W)
    S = np.empty((back.rows * back.columns, W.shape[1]), V.dtype)
    for n in range(V.shape[0]):
        convolve_packed(S, R[n : n + 1], packed, None, back)
        place_pixels(V[n : n + 1], S, window, back, scale, keep)


@kernel
def convolution_gradient(N, D, V, window, scale, keep):
    """``N = scale sum_p D_p^T [P_p, 1] + keep N`` over the positions p of all images.

    It is the gradient of ``scale <D, P W^T + b>`` in ``[W, b]``.

    Parameters
    ----------
    N : (d, patch_height patch_width channels + 1) array
        With ``keep`` 0 the old N is not read.
    D : (m rows columns, d) array
        A row for each position of each image.
    V : (m, height width channels) array
    window : Window
    scale, keep : float
    """
    T, lanes, C, d = N.dtype.type, VECTOR_BYTES // N.itemsize, window.channels, N.shape[0]
    leading(V)  # an error unless rows are contiguous
    height, width = _frame_sizes(window)
    frame = _aligned(height * width * C + 2 * ROWS, N)
    length, line, step = window.patch_width * C, window.step_y * width * C, window.step_x * C
    # The sums of a line of the patch: whole tiles, and a half one.
    padded = _halves(length)
    at_once = min(max(1, POSITIONS // window.columns), window.rows)
    slopes = _aligned(at_once * window.columns * 2 * lanes, N)
    columns = _vectors(d, lanes)
    k = window.patch_height * padded
    sums, biases = _aligned(k * columns, N), np.zeros(columns)
    for n in range(V.shape[0]):
        _frame(frame, V, n, window)
        for y in range(0, window.rows, at_once):
            rows = min(at_once, window.rows - y)
            position, start = (n * window.rows + y) * window.columns, 0
            while start < d:
                block = _block_width(d - start, lanes)
                _pack_slopes(slopes, biases, D, position, rows * window.columns, start, block)
                for i in range(window.patch_height):
                    source = y * line + i * width * C
                    to = k * start + i * padded * block
                    _tiles(
                        sums, to, block, sums, to, block, frame, source, 1, line, step, rows,
                        window.columns, slopes, 0, block, padded, lanes,
                    )  # fmt: skip
                start += block
    a, b, start = T(scale), T(keep), 0
    while start < d:
        block = _block_width(d - start, lanes)
        for o in range(start, min(start + block, d)):
            for i in range(window.patch_height):
                source = k * start + i * padded * block + o - start
                for j in range(length):
                    value, to = a * sums[source + j * block], i * length + j
                    N[o, to] = value if b == T(0) else value + b * N[o, to]
            value, to = a * T(biases[o]), window.patch_height * length
            N[o, to] = value if b == T(0) else value + b * N[o, to]
        start += block


@scalar
def _pack_slopes(slopes, biases, D, position, count, start, block):
    """Copy `count` rows of a block of D into `slopes`, with zeros, and add them to `biases`."""
    columns = min(block, D.shape[1] - start)
    if columns < block:
        slopes[: count * block] = 0.0
    for p in range(count):
        copy_run(slopes.reshape(1, -1), 0, p * block, D, position + p, start, columns)
    # The sums of a few rows keep the type of D, whose vectors hold more numbers than float64's.
    sums = np.zeros(block, D.dtype)
    for p in range(count):
        row = slopes[p * block : (p + 1) * block]
        for j in range(block):
            sums[j] += row[j]
    for j in range(columns):
        biases[start + j] += sums[j]
