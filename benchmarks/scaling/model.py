"""Seconds of an iteration from counts and rates: samples over ranks and threads, solves, messages.

    seconds = sum over layers of  max(pass over samples, its bytes / disk)   each rank its samples
                                + factors + operator + passes over matrices  each rank all of it
                                + rows of W / ranks                          shared
                                + all-reduce + gather of W                   messages

Ranks hold whole tiles of samples (`solver.rows`), threads take whole tiles, and tiles add their
products to the sums one after the other; so a pass takes as long as its busiest thread, or as
all its additions if these take longer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from fastbcd.devices.cpu import MIN_TILE_ROWS, SOLVE_ROWS, TILE_BYTES

from .counts import LayerCounts, iteration_counts


@dataclass(frozen=True)
class Machine:
    """Rates of one rank's processors, each per thread, with all its threads (and ranks) at work."""

    products: float
    """Flops a second of float32 products over a tile."""
    gram: float
    """The same of a symmetric product, counted half."""
    small_gram: float
    """Flops a second of a symmetric product in float64."""
    factor: float
    """Rate of a Cholesky factorisation in float64."""
    solve: float
    """Rate of triangular solves in float64 with many right-hand sides."""
    elementwise: float
    """Bytes a second of the kernels between the products."""
    matrices: float
    """Bytes a second of passes over float64 matrices, adding products to sums among them."""


@dataclass(frozen=True)
class Network:
    """The network between the ranks."""

    latency: float
    """Seconds of the smallest message, one way."""
    bandwidth: float
    """Bytes a second that a rank can send while it receives as many."""
    adding: float = math.inf
    """Bytes a second at which a message that arrived is added to what is here."""


@dataclass(frozen=True)
class Disk:
    """The disk of each rank."""

    read: float
    """Bytes a second."""
    write: float
    """Bytes a second."""


@dataclass(frozen=True)
class Seconds:
    """Parts of the time of an iteration; `total` is their sum."""

    samples: float
    """Passes over samples: what more ranks and threads divide."""
    rows: float
    """Solves for rows of W: shared by the ranks, too."""
    serial: float
    """Factors, operators, passes over matrices: the same on every rank."""
    all_reduce: float
    """Sums over ranks."""
    gather: float
    """Exchange of rows of W."""

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __add__(self, other: Seconds) -> Seconds:
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Seconds(*(a + b for a, b in both))


# One-way trips of a message too large to be sent unasked: may I, do, here it is.
HANDSHAKE = 3
# Where MPICH 5 changes from one all-gather to another, in bytes of all ranks together.
SHORT_GATHER, LONG_GATHER = 80 * 2**10, 512 * 2**10


def all_reduce_volume(ranks: int) -> tuple[int, float]:
    """Steps, and the messages' sizes in terms of the whole one, of Rabenseifner's algorithm.

    MPICH's for sums of more elements than ranks.

    Halves are reduced and scattered, then gathered: 2 log2 R steps, ``2 (R - 1) / R`` of the
    message, one after the other. Where R is no power of two, the surplus ranks first give all
    they have to a neighbour and get the result back in the end: two steps, and twice the
    message, more.
    """
    power = 1 << (ranks.bit_length() - 1)
    steps, share = 2 * (power.bit_length() - 1), 2 * (power - 1) / power
    return (steps, share) if power == ranks else (steps + 2, share + 2)


def all_reduce_seconds(size: float, ranks: int, network: Network) -> float:
    """Seconds for a message of `size` bytes; a rank adds half of the bytes that it receives."""
    if ranks == 1:
        return 0.0
    steps, share = all_reduce_volume(ranks)
    moved = share * size
    latency = steps * HANDSHAKE * network.latency
    return latency + moved / network.bandwidth + moved / 2 / network.adding


def gather_seconds(size: float, ranks: int, network: Network) -> float:
    """Seconds of an all-gather of `size` bytes in all, by MPICH's algorithm for this size.

    Short ones double what they have in each of log2 R steps. Long ones go around a ring: R - 1
    steps of size / R.
    """
    power_of_two = ranks & (ranks - 1) == 0
    if size < SHORT_GATHER or (power_of_two and size < LONG_GATHER):
        steps = (ranks - 1).bit_length()
    else:
        steps = ranks - 1
    moved = (ranks - 1) / ranks * size
    return steps * HANDSHAKE * network.latency + moved / network.bandwidth


def default_tile_rows(widths: Sequence[int], itemsize: int = 4) -> int:
    """Samples in a tile, as the CPU device chooses them."""
    return max(MIN_TILE_ROWS, TILE_BYTES // (max(widths) * itemsize))


def iteration_seconds(
    n: float,
    widths: Sequence[int],
    ranks: int,
    threads: int,
    machine: Machine,
    network: Network | None = None,
    disk: Disk | None = None,
    tile_rows: int | None = None,
) -> Seconds:
    """Seconds of any iteration of three-splitting except the first; `network` joins several ranks.

    With `disk` states are out of core: each layer's pass reads and writes them, and computes
    meanwhile.
    """
    tile = default_tile_rows(widths) if tile_rows is None else tile_rows
    parts = [
        _layer_seconds(counts, n, ranks, threads, machine, network, disk, tile)
        for counts in iteration_counts(widths)
    ]
    return sum(parts[1:], parts[0])


def _layer_seconds(
    counts: LayerCounts,
    n: float,
    ranks: int,
    threads: int,
    machine: Machine,
    network: Network | None,
    disk: Disk | None,
    tile: int,
) -> Seconds:
    tiles = math.ceil(math.ceil(n / tile) / ranks)
    rows = min(n, tiles * tile)
    sample = (
        counts.product_flops / machine.products
        + counts.gram_flops / machine.gram
        + counts.elementwise_bytes / machine.elementwise
    )
    turn = counts.turn_bytes / machine.matrices
    of_thread = math.ceil(tiles / threads)
    # Beyond one tile a thread the last ones are as good as even: threads take the next free one.
    busiest = min(rows, of_thread * tile)
    samples = max(busiest * sample + of_thread * turn, tiles * turn)
    if disk is not None:
        traffic = counts.read_bytes / disk.read + counts.written_bytes / disk.write
        samples = max(samples, rows * traffic)

    solve_rows = _busiest(math.ceil(counts.solve_rows / ranks), threads)
    share = _busiest(counts.operator_columns, threads) / max(1, counts.operator_columns)
    serial = (
        counts.factor_flops / machine.factor
        + counts.small_gram_flops / machine.small_gram
        + counts.operator_flops * share / machine.solve
        + counts.matrix_bytes / machine.matrices
    )
    all_reduce = gather = 0.0
    if ranks > 1:
        if network is None:
            raise ValueError("network: more than one rank needs one")
        serial += counts.packing_bytes / machine.matrices
        all_reduce = all_reduce_seconds(counts.all_reduce_bytes, ranks, network)
        gather = gather_seconds(counts.gather_bytes, ranks, network)
    return Seconds(
        samples=samples,
        rows=solve_rows * counts.solve_flops_per_row / machine.solve,
        serial=serial,
        all_reduce=all_reduce,
        gather=gather,
    )


def _busiest(rows: int, threads: int) -> int:
    """Rows of a solve that one thread takes, `SOLVE_ROWS` at a time."""
    return min(rows, math.ceil(math.ceil(rows / SOLVE_ROWS) / threads) * SOLVE_ROWS)


def sample_seconds(widths: Sequence[int], threads: int, machine: Machine) -> float:
    """Seconds of one sample among many, on all threads of a rank."""
    tile = default_tile_rows(widths)
    some, more = (
        iteration_seconds(k * threads * tile, widths, 1, threads, machine).samples for k in (1, 2)
    )
    return (more - some) / (threads * tile)


def half_time_samples(
    widths: Sequence[int], ranks: int, threads: int, machine: Machine, network: Network
) -> tuple[float, float]:
    """Samples a rank at which the messages, and at which the serial part, take half of the time.

    With a the seconds of a sample, M those of the messages and S all the rest that ranks do not
    divide, an iteration takes ``a n / R + S + M``; so ``n / R = (M - S) / a`` and ``(S - M) / a``:
    0 for the smaller of the two, which never takes half.
    """
    a = sample_seconds(widths, threads, machine)
    parts = iteration_seconds(ranks, widths, ranks, threads, machine, network)
    messages, serial = parts.all_reduce + parts.gather, parts.serial + parts.rows
    return max(0.0, messages - serial) / a, max(0.0, serial - messages) / a
