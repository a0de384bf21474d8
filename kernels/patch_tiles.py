"""Tiles of blocks, tables of offsets and their loops, for convolutions of all precisions.

Some images, a group, are framed by the zeros around them. Tables say where in the frames their
patches begin, and where the elements of a patch lie. A `register_tile` reads patches by such
tables. The other factor, of weights or slopes, is packed in blocks of as many columns as a tile
has. Factors are numbers of the results' type, or pairs of bfloat16 numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastbcd.kernels.copying import copy_run
from fastbcd.kernels.jit import kernel, scalar
from fastbcd.kernels.register_tile import ROWS, VECTOR_BYTES, register_tile

HALF = ROWS // 2
# Tiles for blocks of two vectors of columns, of one, and of half a one.
_whole_2, _half_2 = register_tile(ROWS, 2), register_tile(HALF, 2)
_whole_1, _half_1 = register_tile(ROWS, 1), register_tile(HALF, 1)
_whole_0, _half_0 = (register_tile(rows, 1, VECTOR_BYTES // 2) for rows in (ROWS, HALF))
# The images of one group have at least so many positions, or are one. The slopes of so many stay
# in the fastest cache, and the sums of a gradient are read and written once for so many.
POSITIONS = 96
# Sums of a gradient are added to float64 numbers after so many times `POSITIONS`.
SUMS_AT_ONCE = 16


@scalar
def block_width(columns, lanes):
    """Return the width of the first block of the remaining `columns`: 2, 1, or half a vector."""
    return 2 * lanes if columns > lanes else lanes if 2 * columns > lanes else lanes // 2


@scalar
def widths(columns, lanes):
    """Return the width of all blocks of so many `columns`."""
    whole = columns // (2 * lanes) * (2 * lanes)
    return whole + block_width(columns - whole, lanes) if whole < columns else whole


@scalar
def halves(count):
    """Return `count`, or what is missing to whole and half tiles added to it."""
    return (count + HALF - 1) // HALF * HALF


@kernel
def tiles(
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
def frame_sizes(window):
    """Return height and width of the part of the padded image that the patches cover."""
    height = window.step_y * (window.rows - 1) + window.patch_height
    width = window.step_x * (window.columns - 1) + window.patch_width
    return height, width


@scalar
def images_at_once(window, m):
    """Return how many of m images are one group; see `POSITIONS`."""
    positions = window.rows * window.columns
    return max(1, min(m, (POSITIONS + positions - 1) // positions))


@scalar
def lines_within(window, y):
    """Return which lines of the patches of line y lie within the image: the first, and how many.

    With 0 lines the first one has no meaning.
    """
    top = y * window.step_y
    first = max(-window.first_y - top, 0)
    return first, max(min(window.patch_height, window.height - window.first_y - top) - first, 0)


@scalar
def end_of_band(window, y):
    """Return the end of a band of positions: patches of its lines have the same lines within."""
    within, end = lines_within(window, y), y + 1
    while end < window.rows and lines_within(window, end) == within:
        end += 1
    return end


@scalar
def table_of_positions(window, images, of_image, of_line, of_column, banded):
    """Return the sum of the three offsets, each times its index, for all positions of a group.

    The order is image, line, column, and where `banded`, the band before all of them. After the
    end there are zeros for tiles that have more rows.
    """
    table, e, y = np.zeros(images * window.rows * window.columns + ROWS, np.intp), 0, 0
    while y < window.rows:
        end = end_of_band(window, y) if banded else window.rows
        for n in range(images):
            for line in range(y, end):
                for x in range(window.columns):
                    table[e] = n * of_image + line * of_line + x * of_column
                    e += 1
        y = end
    return table


@scalar
def table_of_elements(window):
    """Return where in a frame the elements of a patch lie, counted from its first one; then 0s."""
    _, width = frame_sizes(window)
    line = window.patch_width * window.channels
    table = np.zeros(window.patch_height * line + ROWS, np.intp)
    for i in range(window.patch_height):
        for j in range(line):
            table[i * line + j] = i * width * window.channels + j
    return table


@scalar
def table_of_rows(count, row):
    """Return where `count` rows and those of a tile beyond them begin: multiples of `row`."""
    return np.arange(count + ROWS) * row


class ResultTables(NamedTuple):
    """Tables of `write_results`."""

    patch: Any
    """Where in the frames the patches of the positions begin."""
    element: Any
    """Where the elements of a patch lie, counted from its first one."""
    result: Any
    """Where in the results the positions lie."""
    rest: Any
    """Where the rows of `rest` begin."""


@scalar
def result_tables(window, at_once, row_of_results, row_of_rest):
    """Return the `ResultTables` of groups of so many images.

    `row_of_results` and `row_of_rest` are the elements from one position to the next.
    """
    height, width = frame_sizes(window)
    pixel, line = window.step_x * window.channels, window.step_y * width * window.channels
    size, positions = height * width * window.channels, window.rows * window.columns
    line_of_results = window.columns * row_of_results
    return ResultTables(
        table_of_positions(window, at_once, size, line, pixel, True),
        table_of_elements(window),
        table_of_positions(
            window, at_once, positions * row_of_results, line_of_results, row_of_results, True
        ),
        table_of_rows(at_once * positions, row_of_rest),
    )


@scalar
def write_results(out, to, d, first, frames, packed, rest, tables, window, images, at_once):
    """``out = P W + first`` for the positions of some images in `frames`.

    Parameters
    ----------
    out : (elements,) array
    to, d : int
        The results of these images begin at element `to`, d numbers for each position.
    first : (columns,) array
    frames, packed : arrays
        Numbers or pairs; the blocks of W begin at element ``k start``.
    rest : ((POSITIONS + ROWS) * row,) array
        Results that are no whole tile, or no whole block, before they are copied.
    tables : ResultTables
    window : Window
        Its channels are the elements of a pixel in `frames`.
    images, at_once : int
        The number of images, and that for which the tables are made.
    """
    lanes, line = VECTOR_BYTES // out.itemsize, window.patch_width * window.channels
    k, start = window.patch_height * line, 0
    U_as_row, as_row = out.reshape(1, -1), rest.reshape(1, -1)
    while start < d:
        block = block_width(d - start, lanes)
        columns, o, y = min(block, d - start), to + start, 0
        while y < window.rows:
            end = end_of_band(window, y)
            above, lines = lines_within(window, y)
            e, length = above * line, lines * line
            # Tables are those of `at_once` images: a band begins as there, and ends after `images`.
            r, w = at_once * y * window.columns, k * start + above * line * block
            stop = r + images * (end - y) * window.columns
            if columns == block:
                count = (stop - r) // HALF * HALF
                tiles(
                    out, o, tables.result, 0, first, start, frames, 0, tables.patch, r, count,
                    tables.element, e, length, packed, w, block, block, lanes,
                )  # fmt: skip
                r += count
            while r < stop:
                count = min(stop - r, POSITIONS)
                # The offset before the first element puts row r of the table there.
                tiles(
                    rest, -tables.rest[r], tables.rest, 0, first, start, frames, 0, tables.patch, r,
                    count, tables.element, e, length, packed, w, block, block, lanes,
                )  # fmt: skip
                for p in range(count):
                    source = tables.rest[p]
                    copy_run(U_as_row, 0, o + tables.result[r + p], as_row, 0, source, columns)
                r += count
            y = end
        start += block


class SlopeTables(NamedTuple):
    """Tables of `add_adjoint`."""

    pixel: Any
    """Where in the frames the patches of the positions begin."""
    slope: Any
    """Where in R the positions lie."""
    channel: Any
    """0, 1, ... for the channels of R, or pairs of them."""
    last_pixel: Any
    """Work array for the positions of an incomplete tile: as `pixel`."""
    last_slope: Any
    """As `slope`."""


@scalar
def slope_tables(window, pixel, at_once, image_of_slopes, depth):
    """Return the `SlopeTables` of groups of so many images.

    `pixel` is the number of elements of a pixel in the frames, `image_of_slopes` of an image in R,
    and `depth` of a position in R.
    """
    height, width = frame_sizes(window)
    size = height * width * pixel
    line, column = window.step_y * width * pixel, window.step_x * pixel
    return SlopeTables(
        table_of_positions(window, at_once, size, line, column, True),
        table_of_positions(window, at_once, image_of_slopes, window.columns * depth, depth, True),
        np.arange(depth),
        np.zeros(HALF, np.intp),
        np.zeros(HALF, np.intp),
    )


@scalar
def add_adjoint(frames, slopes, of_slopes, packed, tables, window, pixel, images, at_once):
    """``frames += A*(R)`` for the slopes R of some images.

    Parameters
    ----------
    frames : (elements,) array
        Behind the frames of `at_once` images there are elements for the rows of a tile that are no
        positions: as many as `size_behind_frames` says. These rows all write there, over each
        other, and nothing reads it.
    slopes : (elements,) array
        R, numbers or pairs.
    of_slopes : int
        The element where those of the images begin.
    packed : (elements,) array
        For each element of the kernel its (depth, channels) weights, in blocks.
    tables : SlopeTables
    window : Window
        That of the convolution.
    pixel : int
        Elements of a pixel in the frames: the width of all blocks.
    images, at_once : int
        The number of images, and that for which the tables are made.
    """
    lanes, C, depth = VECTOR_BYTES // frames.itemsize, window.channels, len(tables.channel)
    height, width = frame_sizes(window)
    start = 0
    while start < C:
        block = block_width(C - start, lanes)
        y = 0
        while y < window.rows:
            end = end_of_band(window, y)
            above, lines = lines_within(window, y)
            r = at_once * y * window.columns
            count = images * (end - y) * window.columns
            whole = count // HALF * HALF
            for p in range(HALF):
                last = r + min(whole + p, count - 1)
                tables.last_slope[p] = tables.slope[last]
                inside = whole + p < count
                tables.last_pixel[p] = (
                    tables.pixel[last] if inside else at_once * height * width * pixel
                )
            for i in range(above, above + lines):
                for j in range(window.patch_width):
                    to = (i * width + j) * pixel + start
                    w = (i * window.patch_width + j) * depth * pixel + depth * start
                    tiles(
                        frames, to, tables.pixel, 1, frames, 0, slopes, of_slopes, tables.slope, r,
                        whole, tables.channel, 0, depth, packed, w, block, block, lanes,
                    )  # fmt: skip
                    if whole < count:
                        tiles(
                            frames, to, tables.last_pixel, 1, frames, 0, slopes, of_slopes,
                            tables.last_slope, 0, HALF, tables.channel, 0, depth, packed, w, block,
                            block, lanes,
                        )  # fmt: skip
            y = end
        start += block


@scalar
def place_of_element(window, i, j, d):
    """Return the first row and column of element (i, j) of a kernel in `transposed_weights`."""
    t_y = (window.patch_height + window.step_y - 1) // window.step_y
    t_x = (window.patch_width + window.step_x - 1) // window.step_x
    row = ((t_y - 1 - i // window.step_y) * t_x + t_x - 1 - j // window.step_x) * d
    return row, (i % window.step_y * window.step_x + j % window.step_x) * window.channels


@scalar
def size_behind_frames(window, pixel):
    """Return how many elements `add_adjoint` needs behind the frames."""
    _, width = frame_sizes(window)
    return window.patch_height * width * pixel


@scalar
def unframe(V, n, frames, at, pixel, window, scale, keep):
    """``V = scale frame + keep V`` for image n; its pixels that no patch has get ``keep V``."""
    T, C = V.dtype.type, window.channels
    height, width = frame_sizes(window)
    a, b = T(scale), T(keep)
    for y in range(window.height):
        for x in range(window.width):
            to = (y * window.width + x) * C
            i, j = y - window.first_y, x - window.first_x
            if 0 <= i < height and 0 <= j < width:
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


@scalar
def move_sums(totals, sums):
    """``totals += sums``, then ``sums = 0``; float64 totals keep what float32 sums would lose."""
    for i in range(len(sums)):
        totals[i] += sums[i]
    sums[:] = 0.0


@scalar
def write_gradient(N, sums, sums_of_D, scale, keep):
    """``N = scale [sums, sums_of_D] + keep N``: N (d, k + 1), its last column of the biases.

    `sums` (float64) has a block for each two vectors of rows of N, with a row for each column.
    """
    T, row = N.dtype.type, 2 * VECTOR_BYTES // N.itemsize
    (d, columns), a, b = N.shape, T(scale), T(keep)
    k = columns - 1
    for o in range(d):
        of_sums = o // row * halves(k) * row + o % row
        for j in range(k):
            value = a * T(sums[of_sums + j * row])
            N[o, j] = value if b == T(0) else value + b * N[o, j]
        value = a * T(sums_of_D[o])
        N[o, k] = value if b == T(0) else value + b * N[o, k]
