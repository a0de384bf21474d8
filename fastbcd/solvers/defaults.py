"""Solvers by name, and what estimators and command line take where a user says nothing."""

from __future__ import annotations

from fastbcd.solvers.base import BlockCoordinateDescent
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.solvers.two_splitting import TwoSplitting

AnySolver = BlockCoordinateDescent | MiniBatchThreeSplitting

FULL_BATCH: dict[str, type[ThreeSplitting] | type[TwoSplitting]] = {
    "three-splitting": ThreeSplitting,
    "two-splitting": TwoSplitting,
}

# Of full batches: weight of the proximal terms, penalty on weights, iterations.
ALPHA = 1e-3
WEIGHT_PENALTY = "ridge:3e-4"
ITERATIONS = 50

# Of mini-batches, besides the batch size; the defaults are the solver's.
MINI_BATCH_PARAMETERS = (
    *("step_size", "schedule", "momentum", "damping", "rank", "weight_decay"),
    "average",
)
