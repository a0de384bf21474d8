"""Sparse inputs of a mini-batch run: which solvers take them."""

from __future__ import annotations

from typing import Any

from fastbcd.data.sparse import check_first_layer, is_sparse, sparse_rows
from fastbcd.devices.storage.arrays import Disk
from fastbcd.errors import InputError


def taken_sparse(solver: Any, X: Any) -> Any:
    """Return sparse X as `SparseRows` in the type of the run, and any other X as it is.

    `InputError` if X is sparse and something of the `solver` needs dense inputs.
    """
    if not is_sparse(X):
        return X
    device, problem = solver.device, solver.problem
    needs = None
    if device.name == "cuda":
        needs = "device='cuda'"
    elif device.ranks.size > 1:
        needs = "comm"
    elif isinstance(device.storage, Disk):
        needs = "memory"
    elif solver.augment is not None:
        needs = "augment"
    elif solver.input_noise:
        needs = "input_noise"
    if needs is not None:
        raise InputError(f"{needs} needs dense inputs: leave it out, or give X.toarray()")
    check_first_layer(problem.layers[0], problem.residual[0])
    given = sparse_rows(X, "X")
    rows = given.astype(solver.dtype)
    return rows if rows is given else sparse_rows(rows, "X")  # a number may be too large for dtype
