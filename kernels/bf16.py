"""``out = scale A B + keep out`` of factors rounded to bfloat16; sums are float32.

A bfloat16 number is a float32 number with 8 instead of 24 binary digits. Each call copies its
factors, rounded and in pairs, into the order in which the tiles read them. The order of sums
depends on shapes only.

All products take float32 arrays with contiguous rows and write their first argument. They have
the names and arguments of those in `fastbcd.kernels`, and ``work`` (at least `work_words`,) uint32.
Without the instructions (`AVAILABLE` is False) they must not be called.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.bf16_packing import (
    pack_left,
    pack_left_transposed,
    pack_right,
    pack_right_transposed,
)
from fastbcd.kernels.bf16_tile import AVAILABLE, COLUMNS, LANES, ROWS, tile
from fastbcd.kernels.jit import kernel

# So many pairs of a panel of the right factor, 16 KiB, stay in the first cache beside the left one.
PAIRS = 128
# Words of a cache line. A vector that lies in two lines costs two loads; tiles take 3 % longer.
LINE = 16


@kernel
def work_words(m, k, n):
    """The words of work space of a product (m, k) x (k, n)."""
    pairs, lines, panels = (k + 1) // 2, (m + ROWS) // ROWS * ROWS, (n + COLUMNS) // COLUMNS
    return (lines + panels * COLUMNS + LANES) * pairs + panels * lines * COLUMNS + 4 * LINE


@kernel
def _part(work, start, size):
    """Numbers of `work` from the first boundary of the cache behind `start`, and their end."""
    start += -((work.ctypes.data >> 2) + start) % LINE
    return work[start : start + size], start + size


@kernel
def _parts(work, m, k, n):
    """Pairs of the left factor, those of the right one, and sums, in whole tiles; more pairs."""
    pairs, lines, panels = (k + 1) // 2, -(-m // ROWS) * ROWS, -(-n // COLUMNS)
    left, end = _part(work, 0, lines * pairs)
    right, end = _part(work, end, panels * pairs * COLUMNS)
    sums, end = _part(work, end, panels * lines * COLUMNS)
    more, end = _part(work, end, LANES * pairs)
    return (
        left.reshape(lines, pairs),
        right.reshape(panels, pairs, COLUMNS),
        sums.view(np.float32).reshape(panels, lines, COLUMNS),
        more.reshape(LANES, pairs),
    )


@kernel
def _sum_tiles(sums, left, right):
    """``sums[p, i, j]`` of the pairs in `left` (lines, pairs) and `right` (panels, pairs, 32)."""
    panels, pairs, lines = right.shape[0], right.shape[1], left.shape[0]
    if pairs == 0:
        sums[:] = np.float32(0.0)
    for t in range(0, pairs, PAIRS):
        length = min(PAIRS, pairs - t)
        for p in range(panels):
            b = (p * pairs + t) * COLUMNS
            for i in range(0, lines, ROWS):
                o = (p * lines + i) * COLUMNS
                tile(sums, o, left, i * pairs + t, pairs, right, b, length, t > 0)


@kernel
def _write(out, sums, scale, keep):
    """``out = scale sums + keep out``; out (m, n), sums (panels, lines, 32)."""
    a, b, n = np.float32(scale), np.float32(keep), out.shape[1]
    for i in range(out.shape[0]):
        for p in range(sums.shape[0]):
            to, of_panel = out[i, p * COLUMNS : min((p + 1) * COLUMNS, n)], sums[p, i]
            if b == 0.0:
                for j in range(to.shape[0]):
                    to[j] = a * of_panel[j]
            else:
                for j in range(to.shape[0]):
                    to[j] = a * of_panel[j] + b * to[j]


@kernel
def _write_transposed(out, sums, scale, keep):
    """``out = scale sums^T + keep out``; out (m, n), sums (panels, lines, 32)."""
    a, b, (m, n) = np.float32(scale), np.float32(keep), out.shape
    for p in range(sums.shape[0]):
        for first in range(0, n, LANES):
            part = sums[p, first : min(first + LANES, n)]
            for j in range(min(COLUMNS, m - p * COLUMNS)):
                to = out[p * COLUMNS + j, first : min(first + LANES, n)]
                if b == 0.0:
                    for i in range(to.shape[0]):
                        to[i] = a * part[i, j]
                else:
                    for i in range(to.shape[0]):
                        to[i] = a * part[i, j] + b * to[i]


@kernel
def product(out, A, B, scale, keep, work):
    """``out = scale A B + keep out``; A (m, k), B (k, n), rounded to bfloat16."""
    left, right, sums, _ = _parts(work, A.shape[0], A.shape[1], B.shape[1])
    pack_left(left, A)
    pack_right(right, B)
    _sum_tiles(sums, left, right)
    _write(out, sums, scale, keep)


@kernel
def product_transposed(out, A, B, scale, keep, work):
    """``out = scale A B^T + keep out``; A (m, k), B (n, k), rounded to bfloat16.

    It is computed as ``out^T = scale B A^T + keep out^T``, because B, the weights of a layer, is
    copied much faster as it lies than transposed.
    """
    left, right, sums, lines = _parts(work, B.shape[0], B.shape[1], A.shape[0])
    pack_left(left, B)
    pack_right_transposed(right, lines, A)
    _sum_tiles(sums, left, right)
    _write_transposed(out, sums, scale, keep)


@kernel
def transposed_product(out, A, B, scale, keep, work):
    """``out = scale A^T B + keep out``; A (k, m), B (k, n), rounded to bfloat16."""
    left, right, sums, _ = _parts(work, A.shape[1], A.shape[0], B.shape[1])
    pack_left_transposed(left, A)
    pack_right(right, B)
    _sum_tiles(sums, left, right)
    _write(out, sums, scale, keep)


__all__ = ["AVAILABLE", "product", "product_transposed", "transposed_product", "work_words"]
