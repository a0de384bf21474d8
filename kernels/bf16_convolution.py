"""Convolutions, their adjoints and gradients of factors rounded to bfloat16; sums are float32.

The functions have the names and arguments of those in `fastbcd.kernels.convolution`. Images and
results have an even number of channels. Two factors that follow each other in a sum are a word, see
`fastbcd.kernels.bf16_packing`: two channels of a pixel, two channels of a slope, or, in a gradient,
two positions of a line. Without the instructions (`fastbcd.kernels.bf16_tile.AVAILABLE` is False)
they must not be called.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.bf16_packing import pack_line, pair
from fastbcd.kernels.bf16_tile import LANES, pairs_of_rows
from fastbcd.kernels.blas import leading
from fastbcd.kernels.convolution import frame
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
from fastbcd.kernels.patches import Window
from fastbcd.kernels.register_tile import ROWS

# The columns of a block.
ROW = 2 * LANES


@scalar
def _of_pairs(window):
    """Return the window of an image whose pixels are words: half as many as it has channels."""
    return Window(
        window.height, window.width, window.channels // 2, window.patch_height, window.patch_width,
        window.step_y, window.step_x, window.first_y, window.first_x, window.rows, window.columns,
    )  # fmt: skip


@scalar
def _frame_pairs(frames, at, V, n, window):
    """Round image n of V into the frame (height width channels / 2,) at `at`, channels in pairs."""
    height, width = frame_sizes(window)
    left, C, row = max(-window.first_x, 0), window.channels, leading(V)
    count = max(min(width, window.width - window.first_x) - left, 0) * C
    for y in range(max(-window.first_y, 0), min(height, window.height - window.first_y)):
        source = ((y + window.first_y) * window.width + left + window.first_x) * C
        to = at + (y * width + left) * C // 2
        pack_line(frames, to, V[n, source : source + count], count, V, n * row + source)


@scalar
def _pack_weights(W):
    """Return W^T (k, d) in blocks of columns, as `pack` does, its rows in pairs: (k / 2, width)."""
    d, k = W.shape
    packed = aligned_zeros(k // 2 * widths(d, LANES), np.empty(0, np.uint32))
    start = 0
    while start < d:
        block = block_width(d - start, LANES)
        to = k // 2 * start
        for j in range(min(block, d - start)):
            weights = W[start + j]
            for t in range(k // 2):
                packed[to + t * block + j] = pair(weights[2 * t], weights[2 * t + 1])
        start += block
    return packed


@kernel
def convolve(U, V, W, bias, window):
    """``U = P W^T + bias`` of rounded patches and weights; see `fastbcd.kernels.convolve`."""
    d, row_of_U = U.shape[1], leading(U)
    words, first = np.empty(0, np.uint32), aligned_zeros(widths(d, LANES), U)
    if bias is not None:
        first[:d] = bias
    packed, of_pairs = _pack_weights(W), _of_pairs(window)
    height, width = frame_sizes(window)
    size, at_once = height * width * of_pairs.channels, images_at_once(window, len(V))
    frames, rest = aligned_zeros(at_once * size, words), aligned_zeros((POSITIONS + ROWS) * ROW, U)
    tables, out = result_tables(of_pairs, at_once, row_of_U, ROW), run_of(U)
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            _frame_pairs(frames, image * size, V, n + image, window)
        to = n * window.rows * window.columns * row_of_U
        write_results(out, to, d, first, frames, packed, rest, tables, of_pairs, images, at_once)


@scalar
def _pack_transposed(W, window, d):
    """Return, for each element of the kernel, its (d / 2, channels) pairs of weights in blocks."""
    C, k_y, k_x = window.channels, window.patch_height, window.patch_width
    pixel, depth = widths(C, LANES), d // 2
    packed = aligned_zeros(k_y * k_x * depth * pixel, np.empty(0, np.uint32))
    for i in range(k_y):
        for j in range(k_x):
            row, column = place_of_element(window, i, j, d)
            to, start = (i * k_x + j) * depth * pixel, 0
            while start < C:
                block = block_width(C - start, LANES)
                first, end = column + start, column + min(start + block, C)
                for t in range(depth):
                    low, high = W[row + 2 * t, first:end], W[row + 2 * t + 1, first:end]
                    for c in range(end - first):
                        packed[to + depth * start + t * block + c] = pair(low[c], high[c])
                start += block
    return packed


@kernel
def convolve_transposed(V, R, W, window, scale, keep):
    """``V = scale A*(R) + keep V`` of rounded R and W, arguments as in `fastbcd.kernels`."""
    leading(V)  # an error unless rows are contiguous
    row_of_R, words = leading(R), np.empty(0, np.uint32)
    d = R.shape[1] // (window.rows * window.columns)
    packed, pixel = _pack_transposed(W, window, d), widths(window.channels, LANES)
    height, width = frame_sizes(window)
    size, at_once = height * width * pixel, images_at_once(window, len(V))
    frames = aligned_zeros(at_once * size + size_behind_frames(window, pixel), V)
    row, depth = R.shape[1] // 2, d // 2
    tables, slopes = (
        slope_tables(window, pixel, at_once, row, depth),
        aligned_zeros(at_once * row, words),
    )
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        frames[: images * size] = 0.0
        for image in range(images):
            pack_line(slopes, image * row, R[n + image], 2 * row, R, (n + image) * row_of_R)
        add_adjoint(frames, slopes, 0, packed, tables, window, pixel, images, at_once)
        for image in range(images):
            unframe(V, n + image, frames, image * size, pixel, window, scale, keep)


@scalar
def _pair_rows(out, o, A, low, high, count):
    """``out[o + j]``: the numbers low + j and high + j of A (1, n), rounded, j < count."""
    whole = count // LANES * LANES
    for j in range(0, whole, LANES):
        pairs_of_rows(out, o + j, A, low + j, high + j)
    for j in range(whole, count):
        out[o + j] = pair(A[0, low + j], A[0, high + j])


@scalar
def _pack_slopes(packed, slopes, to, start, columns, window, images, row):
    """Round a block of the slopes of some images, positions of a line in pairs: (pairs, block).

    slopes (1, n) has the slopes of the first position from element `to` on, and `row` elements
    from one position to the next.
    """
    pairs, block, of_block = (window.columns + 1) // 2, block_width(columns, LANES), 0
    if columns < block:
        packed[: images * window.rows * pairs * block] = 0
    for line in range(images * window.rows):
        position = to + line * window.columns * row + start
        for _ in range(window.columns // 2):
            _pair_rows(packed, of_block, slopes, position, position + row, min(columns, block))
            position += 2 * row
            of_block += block
        if window.columns % 2:
            for j in range(min(columns, block)):
                packed[of_block + j] = pair(slopes[0, position + j], np.float32(0.0))
            of_block += block


@kernel
def convolution_gradient(N, D, V, window, scale, keep):
    """``N = scale sum_p D_p^T [P_p, 1] + keep N`` of rounded D and P; see `fastbcd.kernels`."""
    C, d, row_of_D = window.channels, len(N), leading(D)
    leading(V)  # an error unless rows are contiguous
    height, width = frame_sizes(window)
    line, words = width * C, np.empty(0, np.uint32)
    size, positions = height * line, window.rows * window.columns
    at_once = images_at_once(window, len(V))
    numbers, frames = aligned_zeros(size, N).reshape(1, -1), aligned_zeros(at_once * size, words)
    # A pair of positions has the pairs of numbers of a line that are a step apart: frames[e] has
    # those at e and e + step. The last position of an odd number has the slope 0 beside it; where
    # there is one position only, its pairs have a 0, too.
    of_pairs = Window(
        window.height, window.width, C, window.patch_height, window.patch_width, window.step_y,
        2 * window.step_x, window.first_y, window.first_x, window.rows, (window.columns + 1) // 2,
    )  # fmt: skip
    pairs = of_pairs.rows * of_pairs.columns
    step = line if window.columns == 1 else window.step_x * C
    patch_at = table_of_positions(of_pairs, at_once, size, window.step_y * line, 2 * step, False)
    element_at, k = table_of_elements(window), window.patch_height * window.patch_width * C
    sum_at, size_of_sums = table_of_rows(k, ROW), halves(k) * ROW
    sums = aligned_zeros((d + ROW - 1) // ROW * size_of_sums, N)
    totals, summed = np.zeros(len(sums)), 0
    slopes, packed = run_of(D).reshape(1, -1), aligned_zeros(at_once * pairs * ROW, words)
    # Those of the slopes are summed in float64 over the groups.
    sums_of_D, biases, no_biases = np.zeros(d), aligned_zeros(ROW, N), aligned_zeros(ROW, N)
    ones, zeros = aligned_zeros(1, words), np.zeros(POSITIONS, np.intp)
    ones[0] = pair(np.float32(1.0), np.float32(1.0))
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            frame(numbers[0], 0, V, n + image, window)
            to = image * size
            for y in range(height):
                _pair_rows(frames, to + y * line, numbers, y * line, y * line + step, line - step)
                for e in range((y + 1) * line - step, (y + 1) * line):
                    frames[to + e] = pair(numbers[0, e], np.float32(0.0))
        for start in range(0, d, ROW):
            block = block_width(d - start, LANES)
            to, of_block = n * positions * row_of_D, start // ROW * size_of_sums
            _pack_slopes(packed, slopes, to, start, d - start, window, images, row_of_D)
            for p in range(0, images * pairs, POSITIONS):
                count = min(POSITIONS, images * pairs - p)
                tiles(
                    sums, of_block, sum_at, 1, sums, 0, frames, 0, element_at, 0,
                    k, patch_at, p, count, packed, p * block, block, block, LANES,
                )  # fmt: skip
                # Half a tile of the same sums, as in `fastbcd.kernels.convolution`.
                tiles(
                    biases, 0, zeros, 0, no_biases, 0, ones, 0, zeros, 0, HALF, zeros, 0, count,
                    packed, p * block, block, block, LANES,
                )  # fmt: skip
                for j in range(min(block, d - start)):
                    sums_of_D[start + j] += biases[j]
                if (summed + p // POSITIONS + 1) % SUMS_AT_ONCE == 0:
                    end = of_block + size_of_sums
                    move_sums(totals[of_block:end], sums[of_block:end])
        summed += (images * pairs + POSITIONS - 1) // POSITIONS
    move_sums(totals, sums)
    write_gradient(N, totals, sums_of_D, scale, keep)
