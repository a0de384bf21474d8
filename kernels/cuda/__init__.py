"""Kernels of block coordinate descent on a GPU, with the same scalar formulas as on a processor.

The functions have the names and arguments of `fastbcd.kernels` and take arrays of the GPU: any
array with ``__cuda_array_interface__``, such as CuPy's, PyTorch's and Numba's. They run on the
stream of `launching` (else on the default stream) and return without waiting. A function that
returns a sum on the CPU returns an element of a GPU array. Each docstring lists its differences.

Needs the extra ``cuda13`` or ``cuda12``; importing this needs no GPU.
"""

from __future__ import annotations

from fastbcd.kernels.cuda.bfloat16 import to_bfloat16
from fastbcd.kernels.cuda.coordinate_descent import coordinate_descent, state_slopes
from fastbcd.kernels.cuda.extrapolation import before_extrapolation, difference, extrapolate
from fastbcd.kernels.cuda.gram_solve import (
    add_scaled_step,
    add_state_decrease,
    coordinate_hessian,
    right_hand_side,
    scaled_system,
    shift_diagonal,
)
from fastbcd.kernels.cuda.gram_sums import add_column_sums, add_cross, add_gram
from fastbcd.kernels.cuda.metric import (
    eigenvectors_in_a_block,
    ritz_values,
    turn_directions,
)
from fastbcd.kernels.cuda.mini_batch import (
    advance,
    fetch,
    gather,
    layer_scales,
    mean_of_weights,
    scale_rows,
    set_numbers,
    settle_sizes,
    step_weights_along,
)
from fastbcd.kernels.cuda.norms import (
    penalty_subgradient,
    penalty_sum,
    preactivation_subgradient,
    project,
    prox_weights,
    squared_distance,
    squared_norm,
)
from fastbcd.kernels.cuda.output_state import (
    loss_sum,
    output_subgradient,
    output_terms,
    update_output_state,
    update_output_state_linearised,
    update_output_state_penalised,
    weighted_loss_sum,
)
from fastbcd.kernels.cuda.patches import (
    gather_patches,
    place_pixels,
    scaled_sums,
    write_transposed_weights,
)
from fastbcd.kernels.cuda.pooled_states import (
    solve_below_maximum,
    solve_below_mean,
    subgradient_below_maximum,
)
from fastbcd.kernels.cuda.pooling import (
    maximum_of_windows,
    mean_of_windows,
    spread_maxima,
    spread_means,
)
from fastbcd.kernels.cuda.preactivation import displacement, scaled, update_preactivation
from fastbcd.kernels.cuda.state_descent import (
    accept_step,
    conjugate_step,
    proximal_step,
    row_squares,
    state_slope,
)
from fastbcd.kernels.cuda.states import (
    activate,
    activate_augmented,
    activation_residual,
    coupling_residual,
    displacement_of_states,
    proximal_center,
    residual_of_bias,
    state_center,
)
from fastbcd.kernels.cuda.surrogate import (
    add_row_sums,
    curvature_bound,
    search_rows,
    search_states,
    state_terms,
    surrogate_residual,
)
from fastbcd.kernels.cuda.target import launching

__all__ = [
    "accept_step",
    "activate",
    "activate_augmented",
    "activation_residual",
    "add_column_sums",
    "add_cross",
    "add_gram",
    "add_row_sums",
    "add_scaled_step",
    "add_state_decrease",
    "advance",
    "before_extrapolation",
    "conjugate_step",
    "coordinate_descent",
    "coordinate_hessian",
    "coupling_residual",
    "curvature_bound",
    "difference",
    "displacement",
    "displacement_of_states",
    "eigenvectors_in_a_block",
    "extrapolate",
    "fetch",
    "gather",
    "gather_patches",
    "launching",
    "layer_scales",
    "loss_sum",
    "maximum_of_windows",
    "mean_of_weights",
    "mean_of_windows",
    "output_subgradient",
    "output_terms",
    "penalty_subgradient",
    "penalty_sum",
    "place_pixels",
    "preactivation_subgradient",
    "project",
    "prox_weights",
    "proximal_center",
    "proximal_step",
    "residual_of_bias",
    "right_hand_side",
    "ritz_values",
    "row_squares",
    "scale_rows",
    "scaled",
    "scaled_sums",
    "scaled_system",
    "search_rows",
    "search_states",
    "set_numbers",
    "settle_sizes",
    "shift_diagonal",
    "solve_below_maximum",
    "solve_below_mean",
    "spread_maxima",
    "spread_means",
    "squared_distance",
    "squared_norm",
    "state_center",
    "state_slope",
    "state_slopes",
    "state_terms",
    "step_weights_along",
    "subgradient_below_maximum",
    "surrogate_residual",
    "to_bfloat16",
    "turn_directions",
    "update_output_state",
    "update_output_state_linearised",
    "update_output_state_penalised",
    "update_preactivation",
    "weighted_loss_sum",
    "write_transposed_weights",
]
