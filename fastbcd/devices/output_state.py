"""The V_L-block of one tile: which kernel does it, and what it reports."""

from __future__ import annotations

from typing import Any

from fastbcd.kernels import Loss, Penalty


def update_output_state(
    kernels: Any,
    work: Any,
    V: Any,
    loss: Loss,
    penalty: Penalty,
    linearised: bool,
    U: Any,
    below: Any,
    Y: Any,
    gamma: float,
    alpha: float,
    report: Any,
    *sample_weight: Any,
) -> None:
    """See `fastbcd.kernels.update_output_state` and its sisters.

    `kernels` are a device's, `work` is as large as these want it, and `report` (2,), where it is
    not None, gets by how much F fell and the squared step added; there samples count their
    weights (m,), where these are given.
    """
    if report is not None:
        terms = (loss, penalty, V, U, below, Y, 1.0, gamma, *sample_weight)
        before, old = kernels.output_terms(*terms), V.copy()
    if linearised:
        kernels.update_output_state_linearised(
            V, loss, penalty, U, below, Y, 1.0, gamma, alpha, work
        )
    elif penalty.ridge is None:
        kernels.update_output_state_penalised(
            V, loss, penalty, U, below, Y, 1.0, gamma, alpha, work
        )
    else:
        kernels.update_output_state(V, loss, U, below, Y, 1.0, gamma, alpha, penalty.ridge, work)
    if report is not None:
        report[0] += before - kernels.output_terms(*terms)
        report[1] += kernels.squared_distance(old, V, *sample_weight)
