"""``out = scale A B + keep out`` with factors rounded to bfloat16, for batches on the processor."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd import kernels
from fastbcd.kernels import Window, bf16, bf16_convolution

Array = NDArray[Any]
# A layer with fewer inputs or outputs is multiplied in float32: it has too few multiplications for
# each number that is rounded and copied.
NARROW = 64


def _has_pairs(window: Window, channels: int) -> bool:
    """Whether the channels before and behind a convolution can be rounded in pairs."""
    return window.channels % 2 == 0 and channels % 2 == 0


class RoundedProducts:
    """The functions of `fastbcd.kernels`, but wide products with weights round their factors.

    A dense layer has at least NARROW inputs and outputs then, the bias not counted, and a
    convolution even numbers of channels. Nothing else decides, so results do not depend on the
    number of threads.
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

    def convolve(self, U: Array, V: Array, W: Array, bias: Array | None, window: Window) -> None:
        """``U = P W^T + bias``; see `fastbcd.kernels.convolve`."""
        of = bf16_convolution if _has_pairs(window, U.shape[1]) else kernels
        of.convolve(U, V, W, bias, window)

    def convolve_transposed(
        self, V: Array, R: Array, W: Array, window: Window, scale: float, keep: float
    ) -> None:
        """``V = scale A*(R) + keep V``; see `fastbcd.kernels.convolve_transposed`."""
        channels = R.shape[1] // (window.rows * window.columns)
        of = bf16_convolution if _has_pairs(window, channels) else kernels
        of.convolve_transposed(V, R, W, window, scale, keep)

    def convolution_gradient(
        self, N: Array, D: Array, V: Array, window: Window, scale: float, keep: float
    ) -> None:
        """``N = scale sum_p D_p^T [P_p, 1] + keep N``; see `fastbcd.kernels`."""
        of = bf16_convolution if _has_pairs(window, len(N)) else kernels
        of.convolution_gradient(N, D, V, window, scale, keep)

    def _work(self, m: int, k: int, n: int) -> Array:
        """Return work space of this thread for a product (m, k) x (k, n)."""
        words, work = bf16.work_words(m, k, n), getattr(self._held, "work", None)
        if work is None or len(work) < words:
            work = self._held.work = np.empty(words, np.uint32)
        return work
