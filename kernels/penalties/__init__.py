"""Penalties ``r(W)`` on the weights; the bias column is never penalised."""

from __future__ import annotations

from collections.abc import Callable

from fastbcd.kernels.penalties.ridge import Ridge, no_penalty

PENALTIES: dict[str, Callable[..., Ridge]] = {"none": no_penalty, "ridge": Ridge}

__all__ = ["PENALTIES", "Ridge", "no_penalty"]
