"""Three-splitting on mini-batches: solver, rules for its settings, state, sweep of a batch."""

from __future__ import annotations

from fastbcd.solvers.mini_batch.settings import Settings
from fastbcd.solvers.mini_batch.solver import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.state import MiniBatchState

__all__ = ["MiniBatchState", "MiniBatchThreeSplitting", "Settings"]
