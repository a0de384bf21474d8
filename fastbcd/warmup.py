"""Compile kernels before they are needed."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np

from fastbcd.callbacks import Certify, Objective
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
    solver : ThreeSplitting or TwoSplitting, optional
        It is not changed. Default: `ThreeSplitting` with all its defaults.
    certify : bool, default=False
        Whether to compile the kernels of `fastbcd.callbacks.Certify`, too.

    Returns
    -------
    float
        Seconds.
    """
    start = time.perf_counter()
    solver = copy.copy(ThreeSplitting(Problem((2, 2, 2))) if solver is None else solver)
    rounds = solver.device.batches.kernels is not solver.device.kernels
    solver.problem = solver.problem.narrowed(NARROW if rounds else WIDEST)
    widths = solver.problem.widths
    X = np.random.default_rng(0).random((SAMPLES, widths[0]))
    Y = one_hot(np.arange(SAMPLES) % widths[-1], widths[-1])
    runs: list[list[Callback]] = [[Objective()], [Certify()]] if certify else [[Objective()]]
    for callbacks in runs:
        solver.fit(X, Y, max_iter=ITERATIONS, callbacks=callbacks)
    return time.perf_counter() - start
