"""The convolution of flattened images, its adjoint, and its gradient in the weights.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0. No matrix of patches is formed: see `fastbcd.kernels.patch_tiles`.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import leading
from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.memory import aligned_zeros, run_of
from fastbcd.kernels.patch_tiles import (
    HALF,
    POSITIONS,
    SUMS_AT_ONCE,
    add_adjoint,
    block_width,
    frame_sizes,
    halves,
    images_at_once,
    move_sums,
    place_of_element,
    result_tables,
    size_behind_frames,
    slope_tables,
    table_of_elements,
    table_of_positions,
    table_of_rows,
    tiles,
    unframe,
    widths,
    write_gradient,
    write_results,
)
from fastbcd.kernels.register_tile import ROWS, VECTOR_BYTES


@scalar
def _pack_columns(packed, to, A, row, rows, column, columns, block):
    """Copy a part of A to the block (rows, block) at `to` of `packed`; other columns stay."""
    for i in range(rows):
        for j in range(columns):
            packed[to + i * block + j] = A[row + i, column + j]


@kernel
def pack(A):
    """Return the columns of A (k, n) in blocks of 2, 1 or half a vector, (k, width), with zeros.

    The block that begins with column c begins at element ``k c``.
    """
    lanes = VECTOR_BYTES // A.itemsize
    k, n = A.shape
    packed = aligned_zeros(k * widths(n, lanes), A)
    start = 0
    while start < n:
        block = block_width(n - start, lanes)
        _pack_columns(packed, k * start, A, 0, k, start, min(block, n - start), block)
        start += block
    return packed


@scalar
def frame(frames, at, V, n, window):
    """Copy image n of V into the frame (height width channels,) at `at`; pixels outside stay 0."""
    height, width = frame_sizes(window)
    left = max(-window.first_x, 0)
    count = min(width, window.width - window.first_x) - left
    for y in range(max(-window.first_y, 0), min(height, window.height - window.first_y)):
        source = ((y + window.first_y) * window.width + left + window.first_x) * window.channels
        to = at + (y * width + left) * window.channels
        copy_run(frames.reshape(1, -1), 0, to, V, n, source, max(count, 0) * window.channels)


@kernel
def convolve(U, V, W, bias, window):
    """``U = P W^T + bias``, P being the patches of V.

    V (m, height width channels), U (m rows columns, d), W (d, patch_height patch_width channels),
    bias (d,) or None for 0; `window` is a `Window`. It allocates the packed weights, and memory for
    the images of a group, which have about a hundred positions, or for one image.
    """
    row, d = 2 * VECTOR_BYTES // U.itemsize, U.shape[1]
    row_of_U = leading(U)  # an error unless rows are contiguous
    leading(V)
    packed, first = pack(W.T), aligned_zeros(widths(d, row // 2), U)
    if bias is not None:
        first[:d] = bias
    height, width = frame_sizes(window)
    size, at_once = height * width * window.channels, images_at_once(window, len(V))
    frames, rest = aligned_zeros(at_once * size, U), aligned_zeros((POSITIONS + ROWS) * row, U)
    tables, out = result_tables(window, at_once, row_of_U, row), run_of(U)
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            frame(frames, image * size, V, n + image, window)
        to = n * window.rows * window.columns * row_of_U
        write_results(out, to, d, first, frames, packed, rest, tables, window, images, at_once)


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
    """``V = scale A*(R) + keep V``, the adjoint of `convolve`.

    Parameters
    ----------
    V : (m, height width channels) array
    R : (m, rows columns d) array
        Images in the space of the convolution's results.
    W : (n d, step_y step_x channels) array
        `transposed_weights`.
    window : Window
        That of the convolution.
    scale, keep : float
        With ``keep`` 0 the old V is not read. Memory for the images of a group is allocated.
    """
    leading(V)  # an error unless rows are contiguous
    row_of_R, d = leading(R), R.shape[1] // (window.rows * window.columns)
    packed = _pack_transposed(W, window, d)
    # A pixel of a frame has whole blocks.
    pixel = widths(window.channels, VECTOR_BYTES // V.itemsize)
    height, width = frame_sizes(window)
    size, at_once = height * width * pixel, images_at_once(window, len(V))
    frames = aligned_zeros(at_once * size + size_behind_frames(window, pixel), V)
    tables, slopes = slope_tables(window, pixel, at_once, row_of_R, d), run_of(R)
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        frames[: images * size] = 0.0
        add_adjoint(frames, slopes, n * row_of_R, packed, tables, window, pixel, images, at_once)
        for image in range(images):
            unframe(V, n + image, frames, image * size, pixel, window, scale, keep)


@scalar
def _pack_transposed(W, window, d):
    """Return, for each element of the kernel, its (d, channels) weights in the blocks of `pack`."""
    lanes, C = VECTOR_BYTES // W.itemsize, window.channels
    k_y, k_x, pixel = window.patch_height, window.patch_width, widths(C, lanes)
    packed = aligned_zeros(k_y * k_x * d * pixel, W)
    for i in range(k_y):
        for j in range(k_x):
            row, column = place_of_element(window, i, j, d)
            to, start = (i * k_x + j) * d * pixel, 0
            while start < C:
                block = block_width(C - start, lanes)
                _pack_columns(
                    packed, to + d * start, W, row, d, column + start, min(block, C - start), block
                )
                start += block
    return packed


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
    C, d, row, row_of_D = window.channels, len(N), 2 * VECTOR_BYTES // N.itemsize, leading(D)
    leading(V)  # an error unless rows are contiguous
    height, width = frame_sizes(window)
    size, positions = height * width * C, window.rows * window.columns
    at_once = images_at_once(window, len(V))
    frames, element_at = aligned_zeros(at_once * size, N), table_of_elements(window)
    patch_at = table_of_positions(
        window, at_once, size, window.step_y * width * C, window.step_x * C, False
    )
    k = window.patch_height * window.patch_width * C
    sum_at, size_of_sums = table_of_rows(k, row), halves(k) * row
    sums = aligned_zeros((d + row - 1) // row * size_of_sums, N)
    totals, summed = np.zeros(len(sums)), 0
    slopes, packed = run_of(D), aligned_zeros(POSITIONS * row, N)
    # Those of the slopes are summed in float64 over the groups.
    sums_of_D, biases, no_biases = np.zeros(d), aligned_zeros(row, N), aligned_zeros(row, N)
    one, zeros = aligned_zeros(1, N), np.zeros(POSITIONS, np.intp)
    one[0] = 1.0
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            frame(frames, image * size, V, n + image, window)
        for p in range(0, images * positions, POSITIONS):
            count, position = min(POSITIONS, images * positions - p), n * positions + p
            for start in range(0, d, row):
                block = block_width(d - start, row // 2)
                if d - start < block:
                    Y, y, row_of_Y = packed, 0, block
                    _pack_slopes(packed, D, position, count, start, block)
                else:
                    Y, y, row_of_Y = slopes, position * row_of_D + start, row_of_D
                tiles(
                    sums, start // row * size_of_sums, sum_at, 1, sums, 0, frames, 0, element_at, 0,
                    k, patch_at, p, count, Y, y, row_of_Y, block, row // 2,
                )  # fmt: skip
                # Half a tile of the same sums is the shortest product of ones with the slopes: all
                # its rows lie in one place, read the same one, and so do all terms.
                tiles(
                    biases, 0, zeros, 0, no_biases, 0, one, 0, zeros, 0, HALF, zeros, 0, count, Y,
                    y, row_of_Y, block, row // 2,
                )  # fmt: skip
                for j in range(min(block, d - start)):
                    sums_of_D[start + j] += biases[j]
            summed += 1
            if summed % SUMS_AT_ONCE == 0:
                move_sums(totals, sums)
    move_sums(totals, sums)
    write_gradient(N, totals, sums_of_D, scale, keep)


@scalar
def _pack_slopes(slopes, D, position, count, start, block):
    """Copy `count` rows of a block of D into `slopes`, with zeros."""
    columns = min(block, D.shape[1] - start)
    if columns < block:
        slopes[: count * block] = 0.0
    for p in range(count):
        copy_run(slopes.reshape(1, -1), 0, p * block, D, position + p, start, columns)
