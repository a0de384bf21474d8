"""Rates of this machine and of the network between its ranks, measured in half a minute.

Every rank measures at the same time and each of its threads works, so that they share caches and
memory as they do in a run; the slowest rank's rates count. Processors are timed by the time that
a thread had one: what other programs take is not in it. Messages are timed by the clock, and
the shortest time counts: interruptions only ever add to it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbcd import kernels
from fastbcd.devices import CPU
from fastbcd.devices.ranks import get_ranks
from fastbcd.kernels.activations import relu
from fastbcd.kernels.blas import cholesky, gram

from .model import HANDSHAKE, Machine, Network, default_tile_rows

WIDTH, RIGHT_HAND_SIDES = 1000, 256
# Of a message for the bandwidth; how many small ones in a row for the latency.
MESSAGE_BYTES, MANY = 8 * 2**20, 200


def calibrate_machine(n_threads: int, comm: Any = None, repeat: int = 5) -> Machine:
    """Rates per thread with `n_threads` of them at work on every rank of `comm`."""
    device = CPU(n_threads, None, get_ranks(comm))
    works = [_Work(i) for i in range(n_threads)]
    rates = {}
    with device.session():
        for name, amount in _AMOUNTS.items():
            for work in works:
                work.start(name)
            for _ in range(1 + repeat):
                device.ranks.sum(np.zeros(1))  # all begin together
                device.for_each_item(works, lambda work, _: work())
            # Without the first time, which may compile.
            rates[name] = amount / max(float(np.median(work.times[1:])) for work in works)
    slowest = -np.array(list(rates.values()))
    device.ranks.max(slowest)
    return Machine(**dict(zip(rates, (-slowest).tolist(), strict=True)))


def calibrate_network(comm: Any, repeat: int = 9) -> Network:
    """Rates of the network between the first two ranks of `comm`; the others wait.

    Latency from small messages there and back, bandwidth from large ones that cross each other.
    """
    from mpi4py import MPI

    ranks = get_ranks(comm)
    other, pair = 1 - comm.rank, comm.rank < 2
    small, large = (np.ones((2, size // 8)) for size in (8, MESSAGE_BYTES))

    def there_and_back() -> None:
        if comm.rank == 0:
            comm.Send(small[0], other)
        if pair:
            comm.Recv(small[1], other)
        if comm.rank == 1:
            comm.Send(small[0], other)

    def exchange() -> None:
        if pair:
            comm.Sendrecv(large[0], other, recvbuf=large[1], source=other)

    latency = _shortest(there_and_back, lambda _: None, MANY) / 2
    seconds = _shortest(exchange, ranks.sum, repeat)
    adding = _shortest(lambda: np.add(*large, out=large[0]), ranks.sum, repeat)
    found = np.array([latency if comm.rank == 0 else 0.0, seconds, adding])
    comm.Allreduce(MPI.IN_PLACE, found, MPI.MAX)
    latency, seconds, adding = found.tolist()
    # At least the time to add: where messages cost next to nothing the difference may.
    seconds = max(seconds - HANDSHAKE * latency, adding)
    return Network(latency, MESSAGE_BYTES / seconds, MESSAGE_BYTES / adding)


def _shortest(once: Callable[[], None], meet: Callable[[Any], None], repeat: int) -> float:
    once()
    times = []
    for _ in range(repeat):
        meet(np.zeros(1))
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return min(times)


class _Work:
    """One thread's arrays, and what it does with them; `_AMOUNTS` says how much that is."""

    def __init__(self, seed: int) -> None:
        rng, d, m = np.random.default_rng(seed), WIDTH, _TILE
        self.A, self.B, self.out = rng.random((3, m, d), np.float32)
        self.W, self.G = rng.random((2, d, d), np.float32)
        self.bias, self.sums = np.zeros(d, np.float32), np.zeros(d)
        # More than a cache holds, as the sums of a run and its tiles together.
        self.totals, self.H = np.zeros((4, d, d + 1)), np.empty((d, d))
        self.W64 = self.W.astype(np.float64)
        self.spd = self.W64 @ self.W64.T + d * np.eye(d)
        self.factored = self.spd.copy()
        cholesky(self.factored, np.zeros(1, np.int32))
        self.step, self.scale = np.ones((RIGHT_HAND_SIDES, d)), np.ones((2, d))

    def start(self, name: str) -> None:
        self.times, self._do = [], getattr(self, name)

    def __call__(self) -> None:
        start = time.thread_time()
        self._do()
        self.times.append(time.thread_time() - start)

    def products(self) -> None:
        kernels.affine(self.out, self.A, self.W, self.bias)
        kernels.tile_cross(self.G, self.sums, self.A, self.B)

    def gram(self) -> None:
        kernels.tile_gram(self.G, self.sums, self.A)

    def small_gram(self) -> None:
        gram(self.H, self.W64, 0.0)

    def factor(self) -> None:
        self.H[:] = self.spd
        cholesky(self.H, np.zeros(1, np.int32))

    def solve(self) -> None:
        kernels.ridge_solve(self.step, self.factored, self.scale, 0, self.step)

    def elementwise(self) -> None:
        arrays = self.out, relu(), self.A, None, self.B
        kernels.update_preactivation(*arrays, 1.0, 1.0, 1e-3, None)

    def matrices(self) -> None:
        for total in self.totals:
            kernels.add_cross(total, self.W, self.sums)


_TILE = default_tile_rows((WIDTH,))
_AMOUNTS = {
    "products": 4 * _TILE * WIDTH**2,
    "gram": _TILE * WIDTH**2,
    "small_gram": WIDTH**3,
    "factor": WIDTH**3 // 3,
    "solve": 2 * RIGHT_HAND_SIDES * WIDTH**2,
    "elementwise": 5 * 4 * _TILE * WIDTH,
    "matrices": 4 * (4 + 16) * WIDTH**2,
}
