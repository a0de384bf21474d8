"""Factors of a product, rounded to bfloat16, in pairs, and in the order in which tiles read them.

A pair is a word: two numbers that follow each other in the sum, the first in the lower half.
Numbers are rounded to the nearest bfloat16, ties to even; infinity and NaN stay what they are.
"""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.bf16_tile import COLUMNS, LANES, pairs_of_row, pairs_of_rows
from fastbcd.kernels.bfloat16 import bfloat16_bits
from fastbcd.kernels.blas import leading
from fastbcd.kernels.jit import kernel, straight


@straight
def pair(low, high):
    """Two float32 numbers, rounded to bfloat16, in one word."""
    return np.uint32(np.uint32(bfloat16_bits(low)) | (np.uint32(bfloat16_bits(high)) << 16))


@kernel
def pack_line(out, o, line, k, flat, a):
    """``out[o + t]``: the numbers 2t and 2t + 1 of `line` (k,), which is ``flat[a:]``."""
    whole = k // (2 * LANES) * LANES
    for t in range(0, whole, LANES):
        pairs_of_row(out, o + t, flat, a + 2 * t)
    for t in range(whole, k // 2):
        out[o + t] = pair(line[2 * t], line[2 * t + 1])
    if k % 2:
        out[o + k // 2] = pair(line[k - 1], np.float32(0.0))


@kernel
def pack_left(out, A):
    """``out[i, t]``: the numbers 2t and 2t + 1 of row i of A; 0 below the last row."""
    m, k = A.shape
    pairs, row, flat = out.shape[1], leading(A), out.reshape(-1)
    for i in range(m):
        pack_line(flat, i * pairs, A[i], k, A, i * row)
    out[m:] = 0


@kernel
def pack_left_transposed(out, A):
    """``out[i, t]``: the numbers 2t and 2t + 1 of column i of A; 0 below the last row."""
    k, m = A.shape
    for t in range(k // 2):
        low, high = A[2 * t], A[2 * t + 1]
        for i in range(m):
            out[i, t] = pair(low[i], high[i])
    if k % 2:
        for i in range(m):
            out[i, k // 2] = pair(A[k - 1, i], np.float32(0.0))
    out[m:] = 0


@kernel
def pack_right(out, B):
    """``out[p, t, j]``: rows 2t and 2t + 1 of column ``COLUMNS p + j`` of B; 0 beside them."""
    k, n = B.shape
    panels, pairs, _ = out.shape
    row, flat = leading(B), out.reshape(-1)
    for p in range(panels):
        start = p * COLUMNS
        columns = min(COLUMNS, n - start)
        if columns < COLUMNS:
            out[p] = 0
        for t in range(k // 2):
            o, low = (p * pairs + t) * COLUMNS, 2 * t * row + start
            if columns == COLUMNS:
                for j in range(0, COLUMNS, LANES):
                    pairs_of_rows(flat, o + j, B, low + j, low + row + j)
            else:
                for j in range(columns):
                    flat[o + j] = pair(B[2 * t, start + j], B[2 * t + 1, start + j])
        if k % 2:
            for j in range(columns):
                out[p, k // 2, j] = pair(B[k - 1, start + j], np.float32(0.0))


@kernel
def pack_right_transposed(out, lines, B):
    """``out[p, t, j]``: the numbers 2t and 2t + 1 of row ``COLUMNS p + j`` of B; 0 beside them.

    ``lines`` (LANES, pairs) is work space.
    """
    n, k = B.shape
    panels, pairs, _ = out.shape
    row, flat = leading(B), lines.reshape(-1)
    for p in range(panels):
        for first in range(0, COLUMNS, LANES):
            for j in range(LANES):
                i = p * COLUMNS + first + j
                if i < n:
                    pack_line(flat, j * pairs, B[i], k, B, i * row)
                else:
                    lines[j] = 0
            for t in range(pairs):
                for j in range(LANES):
                    out[p, t, first + j] = lines[j, t]
