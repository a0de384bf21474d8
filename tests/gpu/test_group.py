"""Sums over GPUs: the calls of NCCL, on a stand-in for it in the memory of the processor."""

import ctypes
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from rank_threads import on_ranks

from fastbcd import InputError
from fastbcd.devices.cuda.group import Group

STREAM = 77


class Array:
    """A NumPy array that gives its address like an array of CuPy."""

    def __init__(self, numbers):
        self.numbers = np.ascontiguousarray(numbers)
        self.data = SimpleNamespace(ptr=self.numbers.ctypes.data)
        self.size, self.nbytes, self.dtype = numbers.size, numbers.nbytes, numbers.dtype


class StandIn:
    """The used functions of ``cupy.cuda.nccl``, with the meaning of NCCL, between threads."""

    NCCL_SUM, NCCL_MAX, NCCL_FLOAT64, NCCL_FLOAT32, NCCL_UINT8 = 0, 2, 8, 7, 1

    def __init__(self, size):
        self.board, self.barrier = [None] * size, threading.Barrier(size, timeout=20)
        self.identities = []

    def get_unique_id(self):
        self.identities.append(object())
        return id(self.identities[-1])

    def NcclCommunicator(self, size, identity, rank):
        assert identity == id(self.identities[0])
        assert size == len(self.board)
        meet = self._meet
        bytes_at = self._bytes_at

        class Communicator:
            def allReduce(self, source, target, count, kind, operation, stream):
                assert stream == STREAM
                dtype = np.dtype("float64" if kind == StandIn.NCCL_FLOAT64 else "float32")
                n_bytes = dtype.itemsize * count
                parts = meet(rank, bytes_at(source, n_bytes).copy().view(dtype))
                reduce = {StandIn.NCCL_SUM: np.sum, StandIn.NCCL_MAX: np.max}[operation]
                bytes_at(target, n_bytes)[:] = reduce(parts, axis=0).view(np.uint8)

            def bcast(self, place, count, kind, root, stream):
                assert (kind, stream) == (StandIn.NCCL_UINT8, STREAM)
                bytes_at(place, count)[:] = meet(rank, bytes_at(place, count).copy())[root]

        return Communicator()

    def _meet(self, rank, value):
        self.board[rank] = value
        self.barrier.wait()
        values = list(self.board)
        self.barrier.wait()
        return values

    @staticmethod
    def _bytes_at(place, count):
        return np.frombuffer((ctypes.c_uint8 * count).from_address(place), np.uint8)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_arrays_are_added_compared_and_copied_over_gpus(size):
    nccl, parts = StandIn(size), np.random.default_rng(0).standard_normal((size, 6, 7))

    def work(ranks):
        group = Group(ranks, nccl, f"gpu {ranks.rank}")
        own = parts[ranks.rank]
        sums, largest, weights = Array(own.copy()), Array(own.copy()), Array(own.astype(np.float32))
        group.sum(sums, STREAM)
        group.max(largest, STREAM)
        group.from_first(weights, STREAM)
        short = Array(own.astype(np.float32))
        group.sum(short, STREAM)
        np.testing.assert_allclose(short.numbers, parts.sum(axis=0), rtol=0, atol=1e-5)
        return sums.numbers, largest.numbers, weights.numbers

    for found in on_ranks(size, work):
        sums, largest, weights = found
        np.testing.assert_allclose(sums, parts.sum(axis=0), rtol=1e-14)
        np.testing.assert_array_equal(largest, parts.max(axis=0))
        np.testing.assert_array_equal(weights, parts[0].astype(np.float32))
    assert len(nccl.identities) == 1, "the first rank makes the one identity"


def test_two_ranks_on_one_gpu_are_refused_on_all():
    errors = on_ranks(3, lambda ranks: Group(ranks, StandIn(3), f"gpu {min(ranks.rank, 1)} of a"))
    for error in errors:
        assert isinstance(error, InputError)
        assert "ranks 1 and 2 have the same GPU, gpu 1 of a" in str(error)
