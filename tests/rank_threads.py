"""Ranks that are threads of one process."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastbcd.devices.ranks import SingleProcess, bounds


class Part(SingleProcess):
    """Rank `rank` of `size`, which hears nothing of the others."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def rows(self, n, unit=1):
        return slice(*bounds(n, self.size, unit)[self.rank : self.rank + 2])


class RankThread(Part):
    """One of several threads that exchange what they have through `shared`."""

    def __init__(self, rank, size, shared, barrier):
        super().__init__(rank, size)
        self.shared, self._all_here = shared, barrier

    def gather(self, value):
        self.shared[self.rank] = value
        self._all_here.wait()
        values = list(self.shared)
        self._all_here.wait()
        return values

    def sum(self, array):
        array[...] = np.sum(self.gather(array.copy()), axis=0)

    def max(self, array):
        array[...] = np.max(self.gather(array.copy()), axis=0)

    def share_rows(self, array):
        array[...] = np.concatenate(self.gather(array[self.rows(len(array))].copy()))


def on_ranks(size, function):
    """``[function(rank 0), function(rank 1), ...]``: what it returns, or the exception it raises.

    They run at the same time; one that leaves another waiting fails after 20 seconds.
    """
    shared, barrier = [None] * size, threading.Barrier(size, timeout=20)

    def one(rank):
        try:
            return function(RankThread(rank, size, shared, barrier))
        except Exception as error:
            return error

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))
