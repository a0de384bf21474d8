"""The convolution of flattened images, its adjoint, and its gradient in the weights.

An image is a row of ``height width channels`` numbers, channels last. A pixel outside the image is
0. No matrix of patches is formed: some images are framed by the zeros around them, and tables say
where in the frames their patches begin and the elements of a patch lie. A `register_tile` reads
patches by such tables. Weights and slopes are packed into blocks of as many columns as a tile has.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.blas import leading
from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.memory import aligned_zeros, run_of
from fastbcd.kernels.register_tile import ROWS, VECTOR_BYTES, register_tile

HALF = ROWS // 2
# Tiles for blocks of two vectors of columns, of one, and of half a one.
_whole_2, _half_2 = register_tile(ROWS, 2), register_tile(HALF, 2)
_whole_1, _half_1 = register_tile(ROWS, 1), register_tile(HALF, 1)
_whole_0, _half_0 = (register_tile(rows, 1, VECTOR_BYTES // 2) for rows in (ROWS, HALF))
# The images of one group have at least so many positions, or are one. The slopes of so many stay
# in the fastest cache, and the sums of a gradient are read and written once for so many.
POSITIONS = 96
DIRECT = 10000


@scalar
def _block_width(columns, lanes):
    """Return the width of the first block of the remaining `columns`: 2, 1, or half a vector."""
    return 2 * lanes if columns > lanes else lanes if 2 * columns > lanes else lanes // 2


@scalar
def _widths(columns, lanes):
    """Return the width of all blocks of so many `columns`."""
    whole = columns // (2 * lanes) * (2 * lanes)
    return whole + _block_width(columns - whole, lanes) if whole < columns else whole


@scalar
def _halves(count):
    """Return `count`, or what is missing to whole and half tiles added to it."""
    return (count + HALF - 1) // HALF * HALF


@kernel
def _tiles(
    out, o, out_at, adds, first, f, X, x, x_at, r, count, t_at, e, length, Y, y, row, block,
    lanes,
):  # fmt: skip
    """Compute rows r to ``r + count`` of a block by whole and half tiles; see `register_tile`.

    A half tile may compute more rows than there are: the tables have entries for them. All arrays
    have one dimension, so this is compiled once for each type. It holds all the code of tiles,
    which takes long to compile.
    """
    end = r + count
    while r < end:
        whole = end - r > HALF
        if whole and block > lanes:
            _whole_2(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        elif whole and block == lanes:
            _whole_1(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        elif whole:
            _whole_0(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        elif block > lanes:
            _half_2(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        elif block == lanes:
            _half_1(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        else:
            _half_0(out, o, out_at, adds, first, f, X, x, x_at, r, t_at, e, length, Y, y, row)
        r += ROWS if whole else HALF


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
    packed = aligned_zeros(k * _widths(n, lanes), A)
    start = 0
    while start < n:
        block = _block_width(n - start, lanes)
        _pack_columns(packed, k * start, A, 0, k, start, min(block, n - start), block)
        start += block
    return packed


@scalar
def _frame_sizes(window):
    """Return height and width of the part of the padded image that the patches cover."""
    height = window.step_y * (window.rows - 1) + window.patch_height
    width = window.step_x * (window.columns - 1) + window.patch_width
    return height, width


@scalar
def _frame(frames, at, V, n, window):
    """Copy image n of V into the frame (height width channels,) at `at`; pixels outside stay 0."""
    height, width = _frame_sizes(window)
    left = max(-window.first_x, 0)
    count = min(width, window.width - window.first_x) - left
    for y in range(max(-window.first_y, 0), min(height, window.height - window.first_y)):
        source = ((y + window.first_y) * window.width + left + window.first_x) * window.channels
        to = at + (y * width + left) * window.channels
        copy_run(frames.reshape(1, -1), 0, to, V, n, source, max(count, 0) * window.channels)


@scalar
def _images_at_once(window, m):
    """Return how many of m images are one group; see `POSITIONS`."""
    positions = window.rows * window.columns
    return max(1, min(m, (POSITIONS + positions - 1) // positions))


@scalar
def _lines_within(window, y):
    """Return which lines of the patches of line y lie within the image: the first, and how many."""
    top = y * window.step_y
    first = max(-window.first_y - top, 0)
    return first, max(min(window.patch_height, window.height - window.first_y - top) - first, 0)


@scalar
def _end_of_band(window, y):
    """Return the end of a band of positions: patches of its lines have the same lines within."""
    within, end = _lines_within(window, y), y + 1
    while end < window.rows and _lines_within(window, end) == within:
        end += 1
    return end


@scalar
def _table_of_positions(window, images, of_image, of_line, of_column, banded):
    """Return the sum of the three offsets, each times its index, for all positions of a group.

    The order is image, line, column, and where `banded`, the band before all of them. After the
    end there are zeros for tiles that have more rows.
    """
    table, e, y = np.zeros(images * window.rows * window.columns + ROWS, np.intp), 0, 0
    while y < window.rows:
        end = _end_of_band(window, y) if banded else window.rows
        for n in range(images):
            for line in range(y, end):
                for x in range(window.columns):
                    table[e] = n * of_image + line * of_line + x * of_column
                    e += 1
        y = end
    return table


@scalar
def _table_of_elements(window):
    """Return where in a frame the elements of a patch lie, counted from its first one; then 0s."""
    _, width = _frame_sizes(window)
    line = window.patch_width * window.channels
    table = np.zeros(window.patch_height * line + ROWS, np.intp)
    for i in range(window.patch_height):
        for j in range(line):
            table[i * line + j] = i * width * window.channels + j
    return table


@scalar
def _table_of_rows(count, row):
    """Return where `count` rows and those of a tile beyond them begin: multiples of `row`."""
    return np.arange(count + ROWS) * row


@kernel
def convolve(U, V, W, bias, window):
    """``U = P W^T + bias``, P being the patches of V.

    V (m, height width channels), U (m rows columns, d), W (d, patch_height patch_width channels),
    bias (d,) or None for 0; `window` is a `Window`. It allocates the packed weights, and memory for
    the images of a group, which have about a hundred positions, or for one image.
    """
    lanes, C, d = VECTOR_BYTES // U.itemsize, window.channels, U.shape[1]
    row_of_U = leading(U)  # an error unless rows are contiguous
    leading(V)
    packed, k = pack(W.T), W.shape[1]
    first = aligned_zeros(_widths(d, lanes), U)
    if bias is not None:
        first[:d] = bias
    height, width = _frame_sizes(window)
    size, positions = height * width * C, window.rows * window.columns
    at_once = _images_at_once(window, len(V))
    frames, out = aligned_zeros(at_once * size, U), run_of(U)
    patch_at = _table_of_positions(
        window, at_once, size, window.step_y * width * C, window.step_x * C, True
    )
    result_at = _table_of_positions(
        window, at_once, positions * row_of_U, window.columns * row_of_U, row_of_U, True
    )
    element_at = _table_of_elements(window)
    # Results that are no whole tile, or no whole block, and then are copied.
    rest = aligned_zeros((POSITIONS + ROWS) * 2 * lanes, U)
    rest_at = _table_of_rows(at_once * positions, 2 * lanes)
    U_as_row, as_row = out.reshape(1, -1), rest.reshape(1, -1)
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            _frame(frames, image * size, V, n + image, window)
        start = 0
        while start < d:
            block = _block_width(d - start, lanes)
            columns, to = min(block, d - start), n * positions * row_of_U + start
            y = 0
            while y < window.rows:
                end = _end_of_band(window, y)
                above, lines = _lines_within(window, y)
                e, length = above * window.patch_width * C, lines * window.patch_width * C
                r, w = at_once * y * window.columns, k * start + e * block
                stop = r + images * (end - y) * window.columns
                if columns == block:
                    count = (stop - r) // HALF * HALF
                    _tiles(
                        out, to, result_at, 0, first, start, frames, 0, patch_at, r, count,
                        element_at, e, length, packed, w, block, block, lanes,
                    )  # fmt: skip
                    r += count
                while r < stop:
                    count = min(stop - r, POSITIONS)
                    _tiles(
                        rest, -rest_at[r], rest_at, 0, first, start, frames, 0, patch_at, r, count,
                        element_at, e, length, packed, w, block, block, lanes,
                    )  # fmt: skip
                    for p in range(count):
                        copy_run(U_as_row, 0, to + result_at[r + p], as_row, 0, rest_at[p], columns)
                    r += count
                y = end
            start += block


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
    lanes, C = VECTOR_BYTES // V.itemsize, window.channels
    leading(V)  # an error unless rows are contiguous
    positions, row_of_R = window.rows * window.columns, leading(R)
    d = R.shape[1] // positions
    packed = _pack_transposed(W, window, d)
    # A pixel of a frame has whole vectors.
    height, width = _frame_sizes(window)
    pixel = _widths(C, lanes)
    size, at_once = height * width * pixel, _images_at_once(window, len(V))
    # Behind the frames there is room for the rows of a tile that are no positions.
    frames = aligned_zeros(at_once * size + window.patch_height * width * pixel, V)
    pixel_at = _table_of_positions(
        window, at_once, size, window.step_y * width * pixel, window.step_x * pixel, True
    )
    slope_at = _table_of_positions(window, at_once, row_of_R, window.columns * d, d, True)
    last_pixel_at, last_slope_at = np.zeros(HALF, np.intp), np.zeros(HALF, np.intp)
    channel_at, slopes = np.arange(d), run_of(R)
    for n in range(0, len(V), at_once):
        images, of_R = min(at_once, len(V) - n), n * row_of_R
        frames[: images * size] = 0.0
        start = 0
        while start < C:
            block = _block_width(C - start, lanes)
            y = 0
            while y < window.rows:
                end = _end_of_band(window, y)
                above, lines = _lines_within(window, y)
                r = at_once * y * window.columns
                count = images * (end - y) * window.columns
                whole = count // HALF * HALF
                for p in range(HALF):
                    last = r + min(whole + p, count - 1)
                    last_slope_at[p] = slope_at[last]
                    last_pixel_at[p] = pixel_at[last] if whole + p < count else at_once * size
                for i in range(above, above + lines):
                    for j in range(window.patch_width):
                        to = (i * width + j) * pixel + start
                        w = (i * window.patch_width + j) * d * pixel + d * start
                        _tiles(
                            frames, to, pixel_at, 1, frames, 0, slopes, of_R, slope_at, r, whole,
                            channel_at, 0, d, packed, w, block, block, lanes,
                        )  # fmt: skip
                        if whole < count:
                            _tiles(
                                frames, to, last_pixel_at, 1, frames, 0, slopes, of_R,
                                last_slope_at, 0, HALF, channel_at, 0, d, packed, w, block, block,
                                lanes,
                            )  # fmt: skip
                y = end
            start += block
        for image in range(images):
            _unframe(V, n + image, frames, image * size, pixel, window, scale, keep)


@scalar
def _pack_transposed(W, window, d):
    """Return, for each element of the kernel, its (d, channels) weights in the blocks of `pack`."""
    lanes, C = VECTOR_BYTES // W.itemsize, window.channels
    k_y, k_x, s_y, s_x = window.patch_height, window.patch_width, window.step_y, window.step_x
    t_y, t_x = (k_y + s_y - 1) // s_y, (k_x + s_x - 1) // s_x
    pixel = _widths(C, lanes)
    packed = aligned_zeros(k_y * k_x * d * pixel, W)
    for i in range(k_y):
        for j in range(k_x):
            row = ((t_y - 1 - i // s_y) * t_x + t_x - 1 - j // s_x) * d
            column = (i % s_y * s_x + j % s_x) * C
            to, start = (i * k_x + j) * d * pixel, 0
            while start < C:
                block = _block_width(C - start, lanes)
                _pack_columns(
                    packed, to + d * start, W, row, d, column + start, min(block, C - start), block
                )
                start += block
    return packed


@scalar
def _unframe(V, n, frames, at, pixel, window, scale, keep):
    """``V = scale frame + keep V`` for image n; its pixels that no patch has get ``keep V``."""
    T, C = V.dtype.type, window.channels
    height, width = _frame_sizes(window)
    a, b = T(scale), T(keep)
    for y in range(window.height):
        for x in range(window.width):
            to = (y * window.width + x) * C
            i, j = y - window.first_y, x - window.first_x
            if i < height and j < width:
                source = at + (i * width + j) * pixel
                if b == T(0):
                    for c in range(C):
                        V[n, to + c] = a * frames[source + c]
                else:
                    for c in range(C):
                        V[n, to + c] = a * frames[source + c] + b * V[n, to + c]
            else:
                for c in range(C):
                    V[n, to + c] = b * V[n, to + c] if b != T(0) else T(0)


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
    size, positions = height * width * C, window.rows * window.columns
    at_once = _images_at_once(window, len(V))
    frames = aligned_zeros(at_once * size, N)
    element_at = _table_of_elements(window)
    patch_at = _table_of_positions(
        window, at_once, size, window.step_y * width * C, window.step_x * C, False
    )
    # The sums of a block: a row for each element of a patch, and those that fill the last tile.
    row, k = 2 * lanes, window.patch_height * window.patch_width * C
    size_of_sums, sum_at = _halves(k) * row, _table_of_rows(k, row)
    sums = aligned_zeros((d + row - 1) // row * size_of_sums, N)
    # Those of the slopes are summed in float64 over the groups.
    sums_of_D, biases, no_biases = np.zeros(d), aligned_zeros(row, N), aligned_zeros(row, N)
    one, zeros = aligned_zeros(1, N), np.zeros(POSITIONS, np.intp)
    one[0] = 1.0
    slopes, slopes_of_all, row_of_D = aligned_zeros(POSITIONS * row, N), run_of(D), leading(D)
    for n in range(0, len(V), at_once):
        images = min(at_once, len(V) - n)
        for image in range(images):
            _frame(frames, image * size, V, n + image, window)
        for p in range(0, images * positions, POSITIONS):
            count = min(POSITIONS, images * positions - p)
            for start in range(0, d, row):
                block, position = _block_width(d - start, lanes), n * positions + p
                if d - start < block:
                    Y, y, row_of_Y = slopes, 0, block
                    _pack_slopes(slopes, D, position, count, start, block)
                else:
                    Y, y, row_of_Y = slopes_of_all, position * row_of_D + start, row_of_D
                _tiles(
                    sums, start // row * size_of_sums, sum_at, 1, sums, 0, frames, 0, element_at, 0,
                    k, patch_at, p, count, Y, y, row_of_Y, block, lanes,
                )  # fmt: skip
                # Half a tile of the same sums is the shortest product of ones with the slopes.
                _tiles(
                    biases, 0, zeros, 0, no_biases, 0, one, 0, zeros, 0, HALF, zeros, 0, count, Y,
                    y, row_of_Y, block, lanes,
                )  # fmt: skip
                for j in range(min(block, d - start)):
                    sums_of_D[start + j] += biases[j]
    a, b = T(scale), T(keep)
    for o in range(d):
        of_sums = o // row * size_of_sums + o % row
        for j in range(k):
            value = a * sums[of_sums + j * row]
            N[o, j] = value if b == T(0) else value + b * N[o, j]
        value = a * T(sums_of_D[o])
        N[o, k] = value if b == T(0) else value + b * N[o, k]


@scalar
def _pack_slopes(slopes, D, position, count, start, block):
    """Copy `count` rows of a block of D into `slopes`, with zeros."""
    columns = min(block, D.shape[1] - start)
    if columns < block:
        slopes[: count * block] = 0.0
    for p in range(count):
        copy_run(slopes.reshape(1, -1), 0, p * block, D, position + p, start, columns)
