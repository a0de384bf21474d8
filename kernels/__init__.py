"""Compiled kernels of block coordinate descent, for any solver.

Proximal operators, Gram sums and Gram-matrix solves. Every kernel writes its
first argument (`out` first), takes float32 or float64, runs without the
interpreter lock, and can be called from Python and from a user's own ``@njit``
function. They know nothing of networks.
"""

from __future__ import annotations

from fastbcd.kernels.activations import (
    ACTIVATIONS,
    leaky_relu,
    linear,
    polynomial,
    relu,
    sigmoid,
    softplus,
    tanh,
)
from fastbcd.kernels.coordinate_descent import (
    coordinate_descent,
    coordinate_hessian,
    penalty_sum,
    project,
)
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.gram_solve import add_step, ridge_factor, ridge_right_hand_side, ridge_solve
from fastbcd.kernels.gram_sums import add_cross, add_gram, tile_cross, tile_gram
from fastbcd.kernels.hidden_state import (
    activate,
    activation_residual,
    solve_state,
    state_center,
    state_factor,
    state_operator,
)
from fastbcd.kernels.losses import (
    LOSSES,
    TARGETS,
    Loss,
    cross_entropy,
    exponential,
    hinge,
    logistic,
    logistic_ovr,
    squared,
)
from fastbcd.kernels.output_state import (
    loss_sum,
    update_output_state,
    update_output_state_linearised,
)
from fastbcd.kernels.penalties import (
    PENALTIES,
    Penalty,
    box,
    elastic_net,
    l1,
    none,
    nonnegative,
    ridge,
)
from fastbcd.kernels.preactivation import affine, linear_residual, update_preactivation

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "PENALTIES",
    "TARGETS",
    "Formula",
    "Loss",
    "Penalty",
    "activate",
    "activation_residual",
    "add_cross",
    "add_gram",
    "add_step",
    "affine",
    "box",
    "coordinate_descent",
    "coordinate_hessian",
    "cross_entropy",
    "elastic_net",
    "exponential",
    "hinge",
    "l1",
    "leaky_relu",
    "linear",
    "linear_residual",
    "logistic",
    "logistic_ovr",
    "loss_sum",
    "none",
    "nonnegative",
    "penalty_sum",
    "polynomial",
    "project",
    "relu",
    "ridge",
    "ridge_factor",
    "ridge_right_hand_side",
    "ridge_solve",
    "sigmoid",
    "softplus",
    "solve_state",
    "squared",
    "state_center",
    "state_factor",
    "state_operator",
    "tanh",
    "tile_cross",
    "tile_gram",
    "update_output_state",
    "update_output_state_linearised",
    "update_preactivation",
]
