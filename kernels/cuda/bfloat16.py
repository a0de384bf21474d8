"""Rounding to bfloat16 on a GPU, for products of tensor cores in that type."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels.cuda.target import elements, gpu_kernel, launch


@gpu_kernel
def _to_bfloat16(out, bits):
    # The upper half of a float32's bits, rounded to the nearest, ties to even.
    i, j, down, turns = elements(*out.shape)
    # Unsigned like i and j: comparing a signed with an unsigned integer would use float64.
    rows, columns = np.uint64(bits.shape[0]), np.uint64(bits.shape[1])
    for _ in range(turns):
        upper = np.uint32(0)
        if i < rows and j < columns:
            word = np.uint32(bits[i, j])
            upper = word >> np.uint32(16)
            if word & np.uint32(0x7FFFFFFF) > np.uint32(0x7F800000):
                upper |= np.uint32(0x40)  # NaN stays NaN
            else:
                upper = (word + np.uint32(0x7FFF) + (upper & np.uint32(1))) >> np.uint32(16)
        out[i, j] = np.uint16(upper)
        i += down


def to_bfloat16(out: Any, A: Any) -> None:
    """``out = A`` in bfloat16, padded with zeros; rounded to the nearest, ties to even.

    Parameters
    ----------
    out : (m', d') uint16 array
        The bits of bfloat16 numbers; m' >= m, d' >= d.
    A : (m, d) float32 array
    """
    launch(_to_bfloat16, out.shape, out, A.view(np.uint32))
