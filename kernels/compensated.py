"""Sums whose rounding is kept, too: the same in whichever order and pieces they are added up."""

from __future__ import annotations

from fastbcd.kernels.jit import kernel_in_order


@kernel_in_order
def add_compensated(total, lost, A):
    """Add the rows of A to `total`, and what rounding takes from that to `lost`.

    ``total[j] + lost[j] = sum_i A[i, j]`` to about twice the digits of float64 (Knuth's two-sum).
    A (m, d), total and lost (d,), all float64.
    """
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            before, term = total[j], A[i, j]
            after = before + term
            part = after - before
            lost[j] += (before - (after - part)) + (term - part)
            total[j] = after
