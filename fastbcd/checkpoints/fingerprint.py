"""A hash of samples and targets that is the same on any number of ranks."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import numpy as np

from fastbcd.devices.ranks import collective_errors
from fastbcd.devices.rows import taken
from fastbcd.devices.sparse_rows import SparseRows
from fastbcd.solvers.state import State

# Bytes of rows that are hashed together; a rank sends at most so many to the others.
BLOCK = 2**16
# Blocks that are read at a time.
BLOCKS = 64


def fingerprint(device: Any, state: Any) -> str:
    """Return the SHA-256 of types, shapes and rows of X, Y and weights, for all ranks' samples.

    .. code-block:: text

        sum over blocks of rows of SHA-256(index of the first row, bytes of the rows)  mod 2^256

    for X, for Y, and for the weights of samples in full batches, if there are any. Sparse X counts
    as the arrays of its number of columns, ends of rows, columns and values. The blocks do not
    depend on the ranks: each rank hashes the blocks that begin with one of its rows. If such a
    block ends in the rows of later ranks, these send their rows.

    Parameters
    ----------
    device : CPU
        The device of this rank; all ranks call this together.
    state : State or MiniBatchState
        X and Y may be memory-mapped; they are read in blocks.
    """
    hashed = [*_arrays(state.X), state.Y]
    if isinstance(state, State) and state.sample_weight is not None:
        hashed.append(state.sample_weight)
    parts = [_sum_of_blocks(device, data) for data in hashed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _arrays(X: Any) -> list[Any]:
    """Return X, or the arrays (n,) that stand for sparse X."""
    if not isinstance(X, SparseRows):
        return [X]
    own = X.compact()
    return [np.array([own.width]), own.last, own.columns, own.values]


def _sum_of_blocks(device: Any, data: Any) -> tuple[str, list[int], int]:
    """Return the type of the rows, the shape of those of all ranks, and the sum of their hashes."""
    ranks, shape = device.ranks, data.shape[1:]
    step = max(1, BLOCK // (data.dtype.itemsize * math.prod(shape)))
    counts = ranks.gather(len(data))
    firsts = [sum(counts[:rank]) for rank in range(ranks.size + 1)]
    first, stop = firsts[ranks.rank : ranks.rank + 2]
    begin = min(stop, -(-first // step) * step)  # rows before it are in a block of an earlier rank

    def some(start: int, end: int) -> Any:
        return taken(device, data, slice(start - first, min(end, stop) - first))

    with collective_errors(ranks, apart=True), some(first, begin) as block:
        lent = block.tobytes()
    behind = list(zip(firsts, ranks.gather(lent), strict=False))[ranks.rank + 1 :]
    missing = b"".join(rows for place, rows in behind if place < stop + -stop % step)
    total = 0
    with collective_errors(ranks, apart=True):
        for start in range(begin, stop, step * BLOCKS):
            with some(start, start + step * BLOCKS) as blocks:
                for place in range(0, len(blocks), step):
                    digest = hashlib.sha256(b"%d:" % (start + place))
                    digest.update(np.ascontiguousarray(blocks[place : place + step]).data)
                    if start + place + step > stop:
                        digest.update(missing)
                    total += int.from_bytes(digest.digest(), "little")
    return data.dtype.str, [sum(counts), *shape], sum(ranks.gather(total)) % 2**256
