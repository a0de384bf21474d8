"""Solvers by name, and the defaults of estimators and command line."""

from __future__ import annotations

from inspect import signature

from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.solvers.two_splitting import TwoSplitting

AnySolver = BlockCoordinateDescent | MiniBatchThreeSplitting

FULL_BATCH: dict[str, type[ThreeSplitting] | type[TwoSplitting]] = {
    "three-splitting": ThreeSplitting,
    "two-splitting": TwoSplitting,
}

# Full batches: weight of the proximal terms, acceleration, penalty on weights, iterations.
ALPHA = 1e-3
ACCELERATION = "nesterov"
WEIGHT_PENALTY = "ridge:3e-4"
ITERATIONS = 50

# Mini-batches, besides the batch size; the solver has the defaults.
MINI_BATCH_PARAMETERS = tuple(
    name
    for name in signature(MiniBatchThreeSplitting).parameters
    if name not in ("problem", "batch_size", "displacement", "rho", "execution", "where")
)
