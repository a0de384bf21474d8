"""The U-block of sigmoid and tanh in NumPy: the same Newton steps, whole blocks at a time.

`fastbcd.kernels` is compared with this. It is as fast as NumPy can be: blocks stay in cache,
results go into existing arrays, everything is float32, without safeguard and without search for a
second minimum.
"""

from __future__ import annotations

import numpy as np

BLOCK = 4096
STEPS = {np.dtype(np.float32): 3, np.dtype(np.float64): 4}


class NewtonProx:
    """``argmin_u (a - act(u))^2 + q (u - c)^2`` by a Gauss-Newton and some Newton steps."""

    def __init__(self, activation: str, dtype: str) -> None:
        self.activation, self.steps = activation, STEPS[np.dtype(dtype)]
        self.act, self.d1, self.d2, self.miss, self.work = np.empty((5, BLOCK), dtype)

    def __call__(self, out: np.ndarray, a: np.ndarray, c: np.ndarray, q: float) -> None:
        """All arrays flat."""
        for start in range(0, len(a), BLOCK):
            part = slice(start, start + BLOCK)
            self._block(out[part], a[part], c[part], a.dtype.type(q))

    def _evaluate(self, m: int, u: np.ndarray) -> None:
        """act, act' and act'' at u."""
        act, d1, d2, work = self.act[:m], self.d1[:m], self.d2[:m], self.work[:m]
        if self.activation == "tanh":
            np.tanh(u, out=act)
            np.multiply(act, act, out=d1)
            np.subtract(1, d1, out=d1)
            np.multiply(act, d1, out=d2)
            np.multiply(d2, -2, out=d2)
        else:
            np.negative(u, out=act)
            np.exp(act, out=act)
            np.add(act, 1, out=act)
            np.reciprocal(act, out=act)
            np.subtract(1, act, out=work)
            np.multiply(act, work, out=d1)
            np.subtract(work, act, out=work)
            np.multiply(d1, work, out=d2)

    def _block(self, u: np.ndarray, a: np.ndarray, c: np.ndarray, q: float) -> None:
        m = len(u)
        act, d1, d2, miss, work = (
            array[:m] for array in (self.act, self.d1, self.d2, self.miss, self.work)
        )
        self._evaluate(m, c)
        np.subtract(a, act, out=miss)
        np.multiply(miss, d1, out=miss)
        np.multiply(d1, d1, out=work)
        np.add(work, q, out=work)
        np.divide(miss, work, out=miss)
        np.add(c, miss, out=u)
        for _ in range(self.steps):
            self._evaluate(m, u)
            np.subtract(a, act, out=miss)
            np.multiply(d2, miss, out=d2)
            np.multiply(d1, miss, out=miss)
            np.multiply(d1, d1, out=d1)
            np.add(d1, q, out=d1)
            np.subtract(d1, d2, out=d1)
            np.subtract(u, c, out=work)
            np.multiply(work, q, out=work)
            np.subtract(work, miss, out=work)
            np.divide(work, d1, out=work)
            np.subtract(u, work, out=u)
