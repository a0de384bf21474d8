"""Compiled kernels of block coordinate descent, for any solver.

Proximal operators, Gram sums and Gram-matrix solves. A kernel writes its first argument
(`out` first) or returns a sum, takes float32 or float64, runs without the interpreter
lock, and can be called from Python and from a user's own ``@njit`` function. Kernels do not
depend on networks. README.md in this folder lists them all, with the conventions and worked
examples.
"""

from __future__ import annotations

from typing import Any

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
from fastbcd.kernels.blas import product, product_transposed, transposed_product
from fastbcd.kernels.compensated import add_compensated
from fastbcd.kernels.convolution import (
    convolution_gradient,
    convolve,
    convolve_transposed,
    transposed_weights,
)
from fastbcd.kernels.coordinate_descent import (
    coordinate_descent,
    coordinate_hessian,
    penalty_sum,
    project,
)
from fastbcd.kernels.extrapolation import before_extrapolation, difference, extrapolate
from fastbcd.kernels.formula import Formula
from fastbcd.kernels.gram_solve import (
    add_step,
    ridge_factor,
    ridge_right_hand_side,
    ridge_solve,
    ridge_step_decrease,
)
from fastbcd.kernels.gram_sums import (
    add_cross,
    add_gram,
    pack_lower,
    tile_cross,
    tile_gram,
    unpack_lower,
    weigh_rows,
)
from fastbcd.kernels.hidden_state import (
    activate,
    activation_residual,
    solve_state,
    solve_state_penalised,
    state_center,
    state_decrease,
    state_decrease_by_gram,
    state_factor,
    state_hessian,
    state_operator,
)
from fastbcd.kernels.images import move_images
from fastbcd.kernels.losses import (
    LOSSES,
    TARGETS,
    Loss,
    absolute,
    cross_entropy,
    exponential,
    gamma,
    hinge,
    huber,
    logistic,
    logistic_ovr,
    poisson,
    quantile,
    squared,
    tweedie,
)
from fastbcd.kernels.mini_batch import (
    activate_augmented,
    gather,
    mean_of_weights,
    prox_weights,
    scale_rows,
    step_weights,
    weighted_loss_sum,
)
from fastbcd.kernels.norms import squared_distance, squared_norm
from fastbcd.kernels.output_state import (
    loss_sum,
    output_terms,
    update_output_state,
    update_output_state_linearised,
    update_output_state_penalised,
)
from fastbcd.kernels.patch_sketch import patch_sketch
from fastbcd.kernels.patches import Window, gather_patches
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
from fastbcd.kernels.pooled_states import (
    solve_below_maximum,
    solve_below_mean,
    subgradient_below_maximum,
)
from fastbcd.kernels.pooling import (
    maximum_of_windows,
    mean_of_windows,
    spread_maxima,
    spread_means,
)
from fastbcd.kernels.preactivation import affine, displacement, update_preactivation
from fastbcd.kernels.rms_scaling import layer_scales, settle_sizes
from fastbcd.kernels.sparse import (
    sparse_affine,
    sparse_column_largest,
    sparse_gradient,
    sparse_product,
    sparse_sketch,
    sparse_squared_norm,
)
from fastbcd.kernels.state_descent import (
    accept_step,
    conjugate_step,
    proximal_step,
    row_squares,
    state_slope,
)
from fastbcd.kernels.streams import warn
from fastbcd.kernels.subgradient import (
    coupling_residual,
    output_subgradient,
    penalty_subgradient,
    preactivation_subgradient,
)
from fastbcd.kernels.surrogate import (
    add_row_sums,
    curvature_bound,
    proximal_center,
    search_rows,
    search_states,
    state_terms,
    surrogate_residual,
)

__all__ = [
    "ACTIVATIONS",
    "LOSSES",
    "PENALTIES",
    "TARGETS",
    "Formula",
    "Loss",
    "Penalty",
    "Window",
    "absolute",
    "accept_step",
    "activate",
    "activate_augmented",
    "activation_residual",
    "add_compensated",
    "add_cross",
    "add_gram",
    "add_row_sums",
    "add_step",
    "affine",
    "before_extrapolation",
    "box",
    "conjugate_step",
    "convolution_gradient",
    "convolve",
    "convolve_transposed",
    "coordinate_descent",
    "coordinate_hessian",
    "coupling_residual",
    "cross_entropy",
    "curvature_bound",
    "difference",
    "displacement",
    "elastic_net",
    "exponential",
    "extrapolate",
    "gamma",
    "gather",
    "gather_patches",
    "hinge",
    "huber",
    "l1",
    "layer_scales",
    "leaky_relu",
    "linear",
    "logistic",
    "logistic_ovr",
    "loss_sum",
    "maximum_of_windows",
    "mean_of_weights",
    "mean_of_windows",
    "move_images",
    "none",
    "nonnegative",
    "output_subgradient",
    "output_terms",
    "pack_lower",
    "patch_sketch",
    "penalty_subgradient",
    "penalty_sum",
    "poisson",
    "polynomial",
    "preactivation_subgradient",
    "product",
    "product_transposed",
    "project",
    "prox_weights",
    "proximal_center",
    "proximal_step",
    "quantile",
    "relu",
    "ridge",
    "ridge_factor",
    "ridge_right_hand_side",
    "ridge_solve",
    "ridge_step_decrease",
    "row_squares",
    "scale_rows",
    "search_rows",
    "search_states",
    "settle_sizes",
    "sigmoid",
    "softplus",
    "solve_below_maximum",
    "solve_below_mean",
    "solve_state",
    "solve_state_penalised",
    "sparse_affine",
    "sparse_column_largest",
    "sparse_gradient",
    "sparse_product",
    "sparse_sketch",
    "sparse_squared_norm",
    "spread_maxima",
    "spread_means",
    "squared",
    "squared_distance",
    "squared_norm",
    "state_center",
    "state_decrease",
    "state_decrease_by_gram",
    "state_factor",
    "state_hessian",
    "state_operator",
    "state_slope",
    "state_terms",
    "step_weights",
    "subgradient_below_maximum",
    "surrogate_residual",
    "tanh",
    "tile_cross",
    "tile_gram",
    "transposed_product",
    "transposed_weights",
    "tweedie",
    "unpack_lower",
    "update_output_state",
    "update_output_state_linearised",
    "update_output_state_penalised",
    "update_preactivation",
    "weigh_rows",
    "weighted_loss_sum",
]

# Old name -> new name. The old names work for one release.
RENAMED = {
    "activation_miss": "coupling_residual",
    "majorised_residual": "surrogate_residual",
    "report_state": "state_decrease",
    "report_step": "ridge_step_decrease",
    "shrink_weights": "prox_weights",
}


def __getattr__(name: str) -> Any:
    """The kernel that had this name in the release before, with a `DeprecationWarning`."""
    if name not in RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    new = RENAMED[name]
    warn(f"fastbcd.kernels.{name} is now called {new}", DeprecationWarning, stacklevel=2)
    return globals()[new]
