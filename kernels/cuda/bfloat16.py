"""Rounding to bfloat16 on a GPU, for products of tensor cores in that type."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels import bfloat16
from fastbcd.kernels.cuda.target import elements, gpu_kernel, launch, shared_scalar

bfloat16_bits = shared_scalar(bfloat16.bfloat16_bits)
bfloat16_value = shared_scalar(bfloat16.bfloat16_value)


@gpu_kernel
def _to_bfloat16(out, A):
    i, j, down, turns = elements(*out.shape)
    # Unsigned like i and j: comparing a signed with an unsigned integer would use float64.
    rows, columns = np.uint64(A.shape[0]), np.uint64(A.shape[1])
    for _ in range(turns):
        out[i, j] = bfloat16_bits(A[i, j]) if i < rows and j < columns else np.uint16(0)
        i += down


def to_bfloat16(out: Any, A: Any) -> None:
    """``out = A`` in bfloat16, padded with zeros; rounded to the nearest, ties to even.

    Parameters
    ----------
    out : (m', d') uint16 array
        The bits of bfloat16 numbers; m' >= m, d' >= d.
    A : (m, d) float32 array
    """
    launch(_to_bfloat16, out.shape, out, A)
