"""Penalties ``r(W)`` on weights and ``s(V)`` on states; biases are never penalised."""

from __future__ import annotations

from collections.abc import Callable

from fastbcd.kernels.penalties.box import box, nonnegative
from fastbcd.kernels.penalties.elastic_net import elastic_net, l1
from fastbcd.kernels.penalties.penalty import Penalty
from fastbcd.kernels.penalties.ridge import none, ridge

PENALTIES: dict[str, Callable[..., Penalty]] = {
    "none": none,
    "ridge": ridge,
    "l1": l1,
    "elastic_net": elastic_net,
    "nonnegative": nonnegative,
    "box": box,
}

__all__ = [
    "PENALTIES",
    "Penalty",
    "box",
    "elastic_net",
    "l1",
    "none",
    "nonnegative",
    "ridge",
]
