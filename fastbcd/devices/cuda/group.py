"""Sums of GPU arrays over ranks by NCCL, without the host; each rank has one GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.ranks import Ranks, on_root
from fastbcd.errors import InputError


class Group:
    """The GPUs of a run's ranks.

    Methods put work on the given stream and do not wait for it.

    Parameters
    ----------
    ranks : Ranks
        The ranks that share the samples. All of them make their `Group` together.
    nccl : module
        ``cupy.cuda.nccl``.
    place : str
        Machine and bus of this rank's GPU, which differ between ranks.

    Raises
    ------
    InputError
        Two ranks have the same GPU.
    """

    def __init__(self, ranks: Ranks, nccl: Any, place: str) -> None:
        places = ranks.gather(place)
        for rank, other in enumerate(places):
            first = places.index(other)
            if first < rank:
                raise InputError(
                    f"comm: ranks {first} and {rank} have the same GPU, {other}; start one rank "
                    "for each GPU"
                )
        self._nccl = nccl
        # All ranks wait for each other in this call.
        identity = on_root(ranks, nccl.get_unique_id)
        self._comm = nccl.NcclCommunicator(ranks.size, identity, ranks.rank)

    def sum(self, array: Any, stream: int) -> None:
        """``ncclAllReduce`` of a contiguous `array` of floats, in place, on `stream`."""
        self._reduce(array, self._nccl.NCCL_SUM, stream)

    def max(self, array: Any, stream: int) -> None:
        """``ncclAllReduce`` with the maximum, as `sum`."""
        self._reduce(array, self._nccl.NCCL_MAX, stream)

    def from_first(self, array: Any, stream: int) -> None:
        """``ncclBroadcast``: copy a contiguous `array` of the first rank to all, on `stream`."""
        self._comm.bcast(array.data.ptr, array.nbytes, self._nccl.NCCL_UINT8, 0, stream)

    def _reduce(self, array: Any, operation: int, stream: int) -> None:
        kinds = {"float64": self._nccl.NCCL_FLOAT64, "float32": self._nccl.NCCL_FLOAT32}
        place, kind = array.data.ptr, kinds[np.dtype(array.dtype).name]
        self._comm.allReduce(place, place, array.size, kind, operation, stream)
