"""Compensated sums: they keep the rounding errors, so order and pieces do not change them."""

from __future__ import annotations

from fastbcd.kernels.jit import kernel_in_order


@kernel_in_order
def add_compensated(total, lost, A):
    """``total[j] + lost[j] += sum_i A[i, j]``, to about twice the digits of float64.

    A (m, d), total and lost (d,), all float64; `lost` receives the rounding errors of `total`
    (Knuth's two-sum).
    """
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            before, term = total[j], A[i, j]
            after = before + term
            part = after - before
            lost[j] += (before - (after - part)) + (term - part)
            total[j] = after
