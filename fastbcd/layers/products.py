"""The products of a dense layer, which depend on whether its inputs are sparse."""

from __future__ import annotations

from typing import Any

from fastbcd import kernels as of_package
from fastbcd.devices.sparse_rows import SparseRows


class SparseProducts:
    """Functions of `fastbcd.kernels` for samples V that are `SparseRows`, which stand for ``V^``.

    They are never rounded to fewer digits, and run on the processor.
    """

    @staticmethod
    def affine(U: Any, V: SparseRows, W: Any, bias: Any) -> None:
        """``U = V W^T + bias``."""
        of_package.sparse_affine(U, *V.parts, W, bias)

    @staticmethod
    def product_transposed(U: Any, V: SparseRows, W: Any, scale: float, keep: float) -> None:
        """``U = V^ W^T``, W with the bias in its last column; scale is 1 and keep 0."""
        assert (scale, keep) == (1.0, 0.0)
        of_package.sparse_affine(U, *V.parts, W[:, :-1], W[:, -1].copy())

    @staticmethod
    def product(out: Any, V: SparseRows, Q: Any, scale: float, keep: float) -> None:
        """``out = V^ Q``; scale is 1 and keep 0."""
        assert (scale, keep) == (1.0, 0.0)
        of_package.sparse_product(out, *V.parts, Q)

    @staticmethod
    def transposed_product(out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A^T B + keep out``; A or B is sparse."""
        if isinstance(A, SparseRows):
            of_package.sparse_sketch(out, *A.parts, B, scale, keep)
        else:
            of_package.sparse_gradient(out, A, *B.parts, scale, keep)

    @staticmethod
    def squared_norm(V: SparseRows) -> float:
        """``|V^|^2``."""
        return float(of_package.sparse_squared_norm(V.first, V.last, V.values))


def products_of(kernels: Any, V: Any) -> Any:
    """Return the `kernels` that multiply V, or those for sparse samples if V is sparse."""
    return SparseProducts if isinstance(V, SparseRows) else kernels
