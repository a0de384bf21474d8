"""Predicted numbers from a network's outputs: the link of the loss, where it has one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.kernels import LOSSES


def has_log_link(loss: str | None) -> bool:
    """Whether outputs are logarithms with the built-in loss of this name, or ``NAME:NUMBERS``."""
    name = "" if loss is None else loss.partition(":")[0]
    return name in LOSSES and LOSSES[name]().log_link


def means(loss: str | None, outputs: NDArray[Any]) -> NDArray[Any]:
    """``exp(outputs)`` if `loss` has a log link, else `outputs` themselves; (n, k)."""
    with np.errstate(over="ignore"):
        return np.exp(outputs) if has_log_link(loss) else outputs
