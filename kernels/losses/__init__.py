"""Losses: value and proximal operator of one sample.

Each is a `Formula` with two functions of rows:

- ``row_value(v, y)``: ``loss(v; y)``, as float64;
- ``row_prox(out, center, y, q)``: ``argmin_v loss(v; y) + q/2 |v - center|^2``, ``q > 0``,
  written to `out`, which may be `center` itself (Algorithm 2, V_L-block).
"""

from __future__ import annotations

from collections.abc import Callable

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.losses.squared import squared

LOSSES: dict[str, Callable[..., Formula]] = {"squared": squared}

__all__ = ["LOSSES", "squared"]
