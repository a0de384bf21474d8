"""What a loss is: a formula of one sample, and what it asks of targets."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.formula import Formula

# What targets Y a loss accepts -> in words.
TARGETS = {
    "real": "any numbers",
    "binary": "0 or 1, one column for each class",
    "two classes": "0 or 1, in at most two columns",
    "distribution": "probabilities of the classes: rows that are not negative and add up to 1",
}


class Loss(Formula):
    """A loss of one sample, with functions of rows.

    - ``row_value(v, y)``: ``loss(v; y)``, as float64;
    - ``row_prox(out, center, work, y, q)``: ``argmin_v loss(v; y) + q/2 |v - center|^2``,
      ``q > 0`` (V_L-block of the algorithms); `work` is a row to write to;
    - ``row_gradient(out, v, y)``, where the loss is smooth.

    Parameters
    ----------
    targets : str
        A key of `TARGETS`.
    lipschitz : float or None
        Lipschitz constant of the gradient; None where there is none, and then no
        prox-linear update.
    """

    def __init__(
        self, name: str, targets: str = "real", lipschitz: float | None = None, **functions: Any
    ) -> None:
        super().__init__(name, **functions)
        self.targets, self.lipschitz = targets, lipschitz
