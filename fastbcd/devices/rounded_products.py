"""``out = scale A B + keep out`` with factors rounded to bfloat16, for batches on the processor."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.kernels import bf16

Array = NDArray[Any]
# A layer with fewer inputs or outputs is multiplied in float32: it has too few multiplications for
# each number that is rounded and copied.
NARROW = 64


class RoundedProducts:
    """The functions of `fastbcd.kernels`, but wide products with weights round their factors.

    Their layer has at least NARROW inputs and outputs then, the bias not counted. Nothing else
    decides, so results do not depend on the number of threads.
    """

    def __init__(self) -> None:
        self._held = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(kernels, name)

    def product(self, out: Array, A: Array, W: Array, scale: float, keep: float) -> None:
        """``out = scale A W + keep out``, W without its bias column."""
        if min(W.shape) < NARROW:
            kernels.product(out, A, W, scale, keep)
        else:
            work = self._work(A.shape[0], A.shape[1], W.shape[1])
            bf16.product(out, A, W, float(scale), float(keep), work)

    def product_transposed(self, out: Array, A: Array, W: Array, scale: float, keep: float) -> None:
        """``out = scale A W^T + keep out``, W with its bias column."""
        if min(W.shape[0], W.shape[1] - 1) < NARROW:
            kernels.product_transposed(out, A, W, scale, keep)
        else:
            work = self._work(W.shape[0], W.shape[1], len(A))
            bf16.product_transposed(out, A, W, float(scale), float(keep), work)

    def transposed_product(self, out: Array, A: Array, B: Array, scale: float, keep: float) -> None:
        """``out = scale A^T B + keep out``; `out` is of weights with their bias column."""
        if min(out.shape[0], out.shape[1] - 1) < NARROW:
            kernels.transposed_product(out, A, B, scale, keep)
        else:
            work = self._work(out.shape[0], len(A), out.shape[1])
            bf16.transposed_product(out, A, B, float(scale), float(keep), work)

    def _work(self, m: int, k: int, n: int) -> Array:
        """Return work space of this thread for a product (m, k) x (k, n)."""
        words, work = bf16.work_words(m, k, n), getattr(self._held, "work", None)
        if work is None or len(work) < words:
            work = self._held.work = np.empty(words, np.uint32)
        return work
