"""Flops and bytes of one iteration of three-splitting, layer by layer.

The counts are for Algorithm 2 with plain layers, penalties that are zero or a ridge, no descent
log, and any iteration except the first, which also forms and factors the Gram matrix of the inputs.
p, d, e are the widths of layers l - 1, l, l + 1; p^ = p + 1 counts the column of ones; an element
of a state has `itemsize` bytes, one of a sum or a solve 8. `tests/test_cost_model.py` holds these
counts to what the code does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Bytes of one element of a float64 sum.
DOUBLE = 8
# The condition estimate of a factor takes about this many solves with one triangle of it.
TRIANGLES_OF_AN_ESTIMATE = 10


@dataclass(frozen=True)
class LayerCounts:
    """One layer's share of an iteration."""

    product_flops: int
    """Per sample: ``c W^T`` and ``R M`` (4 d e), ``V W^T`` and ``R^T V`` (4 p d)."""
    gram_flops: int
    """Per sample: ``V^T V``, p^2 by its symmetry; 0 for the inputs, whose product never changes."""
    elementwise_bytes: int
    """Per sample: arrays that the kernels between the products read and write."""
    turn_bytes: int
    """Per tile: its products added to the float64 sums, one tile after the other."""
    factor_flops: int
    """Per rank, on one thread: Cholesky, of the Gram matrix and of the V-block's operator."""
    small_gram_flops: int
    """Per rank, on one thread, float64: ``W W^T`` (or ``W^T W``) of the layer above."""
    operator_flops: int
    """Per rank, shared by its threads: the operator's triangular solves."""
    operator_columns: int
    """Among how many right-hand sides."""
    solve_flops_per_row: int
    """Triangular solves for one row of W."""
    solve_rows: int
    """How many rows; ranks, then threads share them."""
    matrix_bytes: int
    """Per rank, on one thread: passes over matrices as large as W or the Gram matrix."""
    packing_bytes: int
    """The same, only where there is more than one rank."""
    all_reduce_bytes: int
    """The one message that all ranks add up."""
    gather_bytes: int
    """Rows of W that the ranks exchange."""
    read_bytes: int
    """Per sample, out of core: states that a pass reads."""
    written_bytes: int
    """Per sample, out of core: states that a pass changes."""


def layer_counts(widths: Sequence[int], l: int, itemsize: int = 4) -> LayerCounts:
    """Counts of layer l = 1..L of a network of such widths."""
    L, p, d = len(widths) - 1, widths[l - 1], widths[l]
    hidden, inner = l < L, l > 1
    e = widths[l + 1] if hidden else 0
    side, long = (min(d, e), max(d, e)) if hidden else (0, 0)
    q = p + 1
    corner = q * (q + 1) // 2 if inner else 0
    # V: c from U_l into V_l, the residual from U_{l+1} (output: V twice, U, Y). U: the bias into
    # B, then V, U twice, B twice. Column sums of R, and of V_{l-1} beside the Gram matrix.
    elements = (2 * d + 2 * e if hidden else 4 * d) + d + 5 * d + d + (p if inner else 0)
    # Cross product: emptied, tested for NaN; emptied Gram matrix, its scaled copy, the estimate.
    matrices = 2 * DOUBLE * d * q
    if inner:
        matrices += DOUBLE * (q * q + q * q) + TRIANGLES_OF_AN_ESTIMATE * DOUBLE * corner
    return LayerCounts(
        product_flops=4 * d * e + 4 * p * d,
        gram_flops=p * p if inner else 0,
        elementwise_bytes=itemsize * elements,
        turn_bytes=(itemsize + 2 * DOUBLE) * (p * d + (p * (p + 1) // 2 if inner else 0)),
        factor_flops=(q**3 // 3 if inner else 0) + side**3 // 3,
        small_gram_flops=side * side * long,
        operator_flops=2 * side * side * long,
        operator_columns=long,
        solve_flops_per_row=2 * q * q,
        solve_rows=d,
        # W in float64, its operator back in the storage type.
        matrix_bytes=matrices + 2 * (itemsize + DOUBLE) * d * e,
        packing_bytes=4 * DOUBLE * (corner + d * q) if inner else 0,
        all_reduce_bytes=DOUBLE * (corner + d * q),
        gather_bytes=itemsize * d * q,
        read_bytes=itemsize * (p + 2 * d + (e if hidden else d)),
        written_bytes=itemsize * 2 * d,
    )


def iteration_counts(widths: Sequence[int], itemsize: int = 4) -> list[LayerCounts]:
    """Counts of all layers from the last to the first, which is the order of an iteration."""
    return [layer_counts(widths, l, itemsize) for l in range(len(widths) - 1, 0, -1)]


def flops_per_sample(widths: Sequence[int]) -> int:
    """Flops of the products over samples; a symmetric product counts half."""
    return sum(c.product_flops + c.gram_flops for c in iteration_counts(widths))


def state_bytes(widths: Sequence[int], itemsize: int = 4) -> int:
    """Bytes of one sample: X and Y, V and U of every layer."""
    return itemsize * (widths[0] + 2 * sum(widths[1:]) + widths[-1])
