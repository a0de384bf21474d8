"""A hash of samples and targets that is the same on any number of ranks."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from fastbcd.ranks import together
from fastbcd.rows import taken

# Bytes of rows that are hashed together, and at most travel between ranks for each of them.
BLOCK = 2**16


def fingerprint(device: Any, state: Any) -> str:
    """SHA-256 of types, shapes and rows of X and Y, in the order of all ranks' samples.

    .. code-block:: text

        sum over blocks of rows of SHA-256(index of the first row, bytes of the rows)  mod 2^256

    for X and for Y, with the same blocks however the rows are spread over ranks: each rank hashes
    the blocks that begin with one of its rows, of which ranks behind it send it what it lacks.

    Parameters
    ----------
    device : CPU
        On all ranks.
    state : State or MiniBatchState
        X and Y may be memory-mapped; they are read in blocks.
    """
    parts = [_sum_of_blocks(device, data) for data in (state.X, state.Y)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sum_of_blocks(device: Any, data: Any) -> tuple[str, list[int], int]:
    """Type, shape and sum of hashes of the rows of all ranks."""
    ranks, shape = device.ranks, data.shape[1:]
    step = max(1, BLOCK // (data.dtype.itemsize * math.prod(shape)))
    counts = ranks.gather(len(data))
    firsts = [sum(counts[:rank]) for rank in range(ranks.size + 1)]
    first, stop = firsts[ranks.rank : ranks.rank + 2]
    begin = min(stop, -(-first // step) * step)  # before it, rows of a block of a rank before

    def bytes_of(start: int, end: int) -> bytes:
        rows = slice(start - first, min(end, stop) - first)
        with taken(device, data, rows) as block:
            return block.tobytes()

    with together(ranks):
        lent = bytes_of(first, begin)
    behind = list(zip(firsts, ranks.gather(lent), strict=False))[ranks.rank + 1 :]
    total = 0
    with together(ranks):
        for start in range(begin, stop, step):
            digest = hashlib.sha256(b"%d:" % start)
            digest.update(bytes_of(start, start + step))
            if start + step > stop:
                for place, borrowed in behind:
                    if place < start + step:
                        digest.update(borrowed)
            total += int.from_bytes(digest.digest(), "little")
    return data.dtype.str, [sum(counts), *shape], sum(ranks.gather(total)) % 2**256
