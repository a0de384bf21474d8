"""Compile kernels before they are needed."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from typing import Any

import numpy as np

from fastbcd.callbacks import Certify, Objective
from fastbcd.data.augmentation import Augmentation
from fastbcd.data.labels import one_hot
from fastbcd.devices.rounded_products import NARROW
from fastbcd.problem import Problem
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.support.floating_point import own_errstate
from fastbcd.training.loop import Callback

# These sizes suffice to call every kernel, as compiled code does not depend on sizes; only products
# that round their factors need layers of NARROW.
WIDEST, SAMPLES, ITERATIONS = 8, 16, 2


@own_errstate
def warmup(solver: Any = None, certify: bool = False) -> float:
    """Compile every kernel that `solver` will call, or load it from the cache on disk.

    It does two iterations of the same solver on a narrow network and a few random samples. Without
    a cache this takes seconds, once for each combination of algorithm, dtype, activation, loss and
    kinds of penalties. With a cache it takes a fraction of a second in each process. Without
    `warmup` the first `fit` takes this time.

    Parameters
    ----------
    solver : ThreeSplitting, TwoSplitting or MiniBatchThreeSplitting, optional
        It is not changed. Default: `ThreeSplitting` with all its defaults.
    certify : bool, default=False
        Whether to compile the kernels of `fastbcd.callbacks.Certify`, too.

    Returns
    -------
    float
        Seconds.
    """
    start = time.perf_counter()
    solver = _narrowed(ThreeSplitting(Problem((2, 2, 2))) if solver is None else solver)
    widths = solver.problem.widths
    X = np.random.default_rng(0).random((SAMPLES, widths[0]))
    Y = one_hot(np.arange(SAMPLES) % widths[-1], widths[-1])
    runs: list[list[Callback]] = [[Objective()], [Certify()]] if certify else [[Objective()]]
    for callbacks in runs:
        solver.fit(X, Y, max_iter=ITERATIONS, callbacks=callbacks)
    return time.perf_counter() - start


def _narrowed(solver: Any) -> Any:
    """Return a copy of `solver` for a narrow network, with all that depends on its widths."""
    solver = copy.copy(solver)
    rounds = solver.device.batches.kernels is not solver.device.kernels
    solver.problem = solver.problem.narrowed(NARROW if rounds else WIDEST)
    if getattr(solver, "augment", None) is not None:
        solver.augment = Augmentation.smallest(solver.problem.layers[0])
    if getattr(solver, "noise", None) is not None:
        solver.noise = replace(solver.noise, problem=solver.problem)
    return solver
