"""The class of losses: formulas of one sample, and the targets that they accept."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels.formula import Formula
from fastbcd.kernels.jit import scalar

# Kind of targets Y that a loss accepts -> its description.
TARGETS = {
    "real": "any numbers",
    "not negative": "numbers that are not negative",
    "positive": "numbers above 0",
    "binary": "0 or 1, one column for each class",
    "two classes": "0 or 1, in at most two columns",
    "distribution": "probabilities of the classes: rows that are not negative and add up to 1",
}
OF_NUMBERS = ("real", "not negative", "positive")


class Loss(Formula):
    """A loss of one sample, with functions of rows.

    - ``row_value(v, y)``: ``loss(v; y)``, as float64;
    - ``row_prox(out, center, work, y, q)``: ``argmin_v loss(v; y) + q/2 |v - center|^2``,
      ``q > 0`` (V_L-block of the algorithms); `work` (2, k) float64 is work space;
    - ``row_gradient(out, v, y)``, where the loss is smooth; else ``row_subdifferential(low, high,
      v, y)``: the ends of the intervals of slopes, for the subgradient of the certificate;
    - ``row_prox_penalised(out, center, work, y, q, penalty)``, for penalties on the output
      states: ``argmin_v loss(v; y) + sum_j s(v_j) + q/2 |v - center|^2``.

    Parameters
    ----------
    name : str
        The name that users type.
    targets : str, default="real"
        A key of `TARGETS`.
    lipschitz : float or None
        Lipschitz constant of the gradient; None where there is none, which excludes the
        prox-linear update.
    parameters : tuple of float
        As for `Formula`.
    n_outputs : int or None
        The number of outputs that the loss is for; None for any.
    in_target_units : bool, default=False
        Whether outputs are near the targets, so that a network starts at their mean and scale.
    log_link : bool, default=False
        Whether outputs are logarithms of the predicted numbers.
    stiffness : float, default=1
        Mini-batches multiply gamma by it in the V_L-block. They learn the outputs u with the least
        envelope ``min_v loss(v; y) + gamma/2 (v - u)^2``. For a quantile these are a quantile
        only where gamma is large.
    **functions
        The compiled functions above, with the tuple of parameters as their last argument.

    Raises
    ------
    ValueError
        `targets` is no key of `TARGETS`.
    """

    def __init__(
        self,
        name: str,
        targets: str = "real",
        lipschitz: float | None = None,
        *,
        parameters: tuple[float, ...] = (),
        n_outputs: int | None = None,
        in_target_units: bool = False,
        log_link: bool = False,
        stiffness: float = 1.0,
        **functions: Any,
    ) -> None:
        if targets not in TARGETS:
            raise ValueError(f"targets must be one of {', '.join(TARGETS)}, got {targets!r}")
        gradient = functions.get("row_gradient")
        if gradient is not None:
            functions.setdefault("row_subdifferential", single_slope(gradient))
        super().__init__(name, parameters, **functions)
        self.targets, self.lipschitz, self.n_outputs = targets, lipschitz, n_outputs
        self.in_target_units, self.log_link = in_target_units, log_link
        self.stiffness = stiffness

    @property
    def is_for_numbers(self) -> bool:
        """Whether targets are numbers, and not classes or labels."""
        return self.targets in OF_NUMBERS

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Version 0.1 had one loss in the units of targets, and none with the other attributes.
        earlier = {"n_outputs": None, "in_target_units": state["name"] == "squared"}
        super().__setstate__({**earlier, "log_link": False, "stiffness": 1.0, **state})


def single_slope(gradient: Any) -> Any:
    """Make the `row_subdifferential` of a smooth loss: its interval of slopes is one number."""

    @scalar
    def row_subdifferential(low, high, v, y, p):
        gradient(low, v, y, p)
        for j in range(low.shape[0]):
            high[j] = low[j]

    return row_subdifferential
