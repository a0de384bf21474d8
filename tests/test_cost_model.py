"""The cost model counts what the code does, and its formulas say what they should."""

import importlib
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastbcd import Problem, ThreeSplitting, kernels
from fastbcd.devices import CPU
from fastbcd.devices.ranks import SingleProcess

# The layer below the output is narrower, and wider, than the one above it.
WIDTHS, SAMPLES, TILE = (30, 60, 50, 40, 5), 400, 100
L = len(WIDTHS) - 1
# Bytes that a kernel reads and writes between its products, by its arguments.
ELEMENTWISE = {
    "affine": lambda out, *rest: out.nbytes,
    "state_center": lambda C, activation, U, *rest: C.nbytes + U.nbytes,
    "solve_state": lambda V, U_next, W, bias, M, residual: U_next.nbytes + residual.nbytes,
    "update_preactivation": lambda U, activation, V, below, B, *rest: (
        V.nbytes + 2 * U.nbytes + 2 * B.nbytes
    ),
    "update_output_state": lambda V, loss, U, below, Y, *rest: 2 * V.nbytes + U.nbytes + Y.nbytes,
    "tile_cross": lambda work, sums, R, V: R.nbytes,
    "tile_gram": lambda work, sums, V: V.nbytes,
}
TURN = {
    "add_cross": lambda total, work, sums: work.nbytes + 2 * 8 * work.size,
    "add_gram": lambda total, V, work, sums: (4 + 2 * 8) * (len(work) * (len(work) + 1) // 2),
}


@pytest.fixture
def scaling(monkeypatch):
    """The modules of benchmarks/scaling."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    names = ("counts", "model", "calibrate", "observe", "hardware", "hosts")
    yield SimpleNamespace(
        floor=importlib.import_module("suite.floor"),
        **{name: importlib.import_module(f"scaling.{name}") for name in names},
    )
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("suite", "scaling", "cost_model")
    ]:
        del sys.modules[name]


class HalfOf(SingleProcess):
    """The first of two ranks, which are thought to have the same samples."""

    size = 2

    def gather(self, value):
        return [value, value]

    def rows(self, n, unit=1):
        return slice(0, -(-n // 2))


def started(ranks=None):
    rng = np.random.default_rng(0)
    X = rng.random((SAMPLES, WIDTHS[0]))
    Y = np.eye(WIDTHS[-1])[rng.integers(WIDTHS[-1], size=SAMPLES)]
    solver = ThreeSplitting(Problem(WIDTHS), tile_rows=TILE, n_threads=1)
    if ranks is not None:
        solver.device.ranks = ranks
    return solver, solver.step(solver.init(X, Y))


def total(counts, name):
    return sum(getattr(c, name) for c in counts)


def test_flops_over_samples_and_in_solves_are_those_of_the_floor(scaling):
    counts = scaling.counts.iteration_counts(WIDTHS)
    calls = scaling.floor.irreducible_calls(WIDTHS, SAMPLES)
    assert SAMPLES * scaling.counts.flops_per_sample(WIDTHS) == scaling.floor.product_flops(calls)
    factors = solves = operators = 0
    for (name, size, columns, _), times in calls.items():
        factors += times * (size**3 // 3) * (name in ("factor", "operator"))
        solves += times * 2 * size**2 * columns * (name == "solve")
        operators += times * 2 * size**2 * columns * (name == "operator")
    assert total(counts, "factor_flops") == factors
    assert sum(c.solve_flops_per_row * c.solve_rows for c in counts) == solves
    assert total(counts, "operator_flops") == operators == 2 * total(counts, "small_gram_flops")


@pytest.mark.parametrize(("kernel_bytes", "name"), [(ELEMENTWISE, 0), (TURN, 1)])
def test_bytes_of_elementwise_work_are_those_of_the_kernels(
    scaling, monkeypatch, kernel_bytes, name
):
    moved = []

    def counted(kernel, count):
        def call(*arguments):
            moved.append(count(*arguments))
            return kernel(*arguments)

        return call

    solver, state = started()
    for kernel, count in kernel_bytes.items():
        monkeypatch.setattr(kernels, kernel, counted(getattr(kernels, kernel), count))
    solver.step(state)
    counts = scaling.counts.iteration_counts(WIDTHS)
    expected = (
        SAMPLES * total(counts, "elementwise_bytes"),
        SAMPLES // TILE * total(counts, "turn_bytes"),
    )
    assert sum(moved) == expected[name]


def test_bytes_of_messages_are_those_that_ranks_send(scaling):
    watched = scaling.observe.Watched(HalfOf())
    solver, state = started(watched)
    watched.clear()
    solver.step(state)
    counts = scaling.counts.iteration_counts(WIDTHS)
    assert watched.sums.bytes == total(counts, "all_reduce_bytes")
    assert watched.rows_sent.bytes == total(counts, "gather_bytes")
    assert watched.sums.calls == watched.rows_sent.calls == L


def test_states_that_a_pass_reads_and_changes_are_those_counted(scaling, monkeypatch):
    solver, state = started()
    arrays = [*state.V, *state.U[1:], state.Y]
    read, changed, fetched = [], [], []
    through = CPU.for_each_tile

    def watched(self, *arguments, **options):
        before = [A.copy() for A in arrays]
        read.append(set())
        fetched.append({id(A) for A in options["arrays"]})
        through(self, *arguments, **options)
        changed.append({i for i, A in enumerate(arrays) if not np.array_equal(A, before[i])})

    def noting(kernel):
        def call(*arguments):
            for a in arguments:
                if isinstance(a, np.ndarray):
                    read[-1].update(i for i, A in enumerate(arrays) if np.shares_memory(a, A))
            return kernel(*arguments)

        return call

    monkeypatch.setattr(CPU, "for_each_tile", watched)
    for name in ELEMENTWISE:
        monkeypatch.setattr(kernels, name, noting(getattr(kernels, name)))
    solver.step(state)
    counts = scaling.counts.iteration_counts(WIDTHS)
    assert SAMPLES * scaling.counts.state_bytes(WIDTHS) == sum(A.nbytes for A in arrays)
    assert len(read) == len(changed) == L
    for l, some in enumerate(counts):
        assert SAMPLES * some.read_bytes == sum(arrays[i].nbytes for i in read[l])
        assert fetched[l] == {id(arrays[i]) for i in read[l]}  # by a pass out of core
        assert SAMPLES * some.written_bytes == sum(arrays[i].nbytes for i in changed[l])


def rabenseifner(ranks):
    """Steps, and what of the message passes in them one after the other: as it is described."""
    power = 2 ** int(math.log2(ranks))
    surplus = ranks - power
    steps, sent, part = 0, 0.0, 1.0
    if surplus:  # a rank of a pair hands over all it has, and is told the result in the end
        steps, sent = 2, 2.0
    while part * power > 1:  # half of what is left to the partner, its half is added
        part /= 2
        steps, sent = steps + 1, sent + part
    while part < 1:  # and back
        steps, sent, part = steps + 1, sent + part, 2 * part
    return steps, sent


def test_an_all_reduce_sends_what_its_algorithm_does(scaling):
    assert scaling.model.all_reduce_volume(1) == (0, 0.0)
    for ranks in [*range(2, 40), 512, 1000, 1024]:
        assert scaling.model.all_reduce_volume(ranks) == rabenseifner(ranks), ranks


def test_seconds_of_messages(scaling):
    network = scaling.model.Network(latency=1e-3, bandwidth=1e9, adding=2e9)
    reduce, gather = scaling.model.all_reduce_seconds, scaling.model.gather_seconds
    assert reduce(1e9, 1, network) == gather(1e9, 1, network) == 0.0
    # Two steps of a handshake and half of the message each, half of what comes in added.
    assert reduce(1e9, 2, network) == pytest.approx(6e-3 + 1 + 0.25)
    assert reduce(1e9, 3, network) == pytest.approx(12e-3 + 3 + 0.75)
    assert reduce(1e9, 4, network) == pytest.approx(12e-3 + 1.5 + 0.375)
    # Three steps of a quarter.
    assert gather(1e9, 4, network) == pytest.approx(9e-3 + 0.75)
    assert gather(1e8, 4, network) == pytest.approx(9e-3 + 0.075)
    # Short ones: as many steps as there are doublings.
    assert gather(4e5, 8, network) == pytest.approx(9e-3 + 3.5e-4)
    assert gather(4e5, 6, network) == pytest.approx(15e-3 + 1e-3 / 3)
    assert gather(4e4, 6, network) == pytest.approx(9e-3 + 1e-4 / 3)


def test_seconds_of_an_iteration(scaling):
    seconds, machine = scaling.model.iteration_seconds, scaling.hardware.CORE
    network = scaling.model.Network(latency=0.0, bandwidth=1e20)
    tile = scaling.model.default_tile_rows(WIDTHS)
    one = seconds(8 * tile, WIDTHS, 1, 1, machine)
    assert seconds(16 * tile, WIDTHS, 1, 1, machine).samples == pytest.approx(2 * one.samples)
    for ranks, threads in ((2, 1), (1, 2), (4, 2)):
        part = seconds(8 * tile, WIDTHS, ranks, threads, machine, network)
        assert part.samples == pytest.approx(one.samples / ranks / threads)
    # As few tiles as one rank has threads: more threads have nothing to do.
    assert seconds(2 * tile, WIDTHS, 1, 9, machine).samples == pytest.approx(one.samples / 8)
    disk = scaling.model.Disk(read=1e3, write=2e3)
    counts = scaling.counts.iteration_counts(WIDTHS)
    traffic = total(counts, "read_bytes") / 1e3 + total(counts, "written_bytes") / 2e3
    slow = seconds(8 * tile, WIDTHS, 1, 1, machine, disk=disk)
    assert slow.samples == pytest.approx(8 * tile * traffic)
    fast = scaling.model.Disk(read=1e20, write=1e20)
    assert seconds(8 * tile, WIDTHS, 1, 1, machine, disk=fast) == one
    with pytest.raises(ValueError, match="network"):
        seconds(8 * tile, WIDTHS, 2, 1, machine)


def test_tiles_that_wait_for_each_other_bound_a_pass(scaling):
    machine = scaling.hardware.CORE
    counts = scaling.counts.layer_counts(WIDTHS, 2)
    tile = scaling.model.default_tile_rows(WIDTHS)
    threads, tiles = 10_000, 10_000
    found = scaling.model.iteration_seconds(tiles * tile, WIDTHS, 1, threads, machine).samples
    assert found >= tiles * counts.turn_bytes / machine.matrices


@pytest.mark.parametrize("bandwidth", [1e6, 1e12])
def test_half_of_the_time_is_half_of_the_time(scaling, bandwidth):
    machine, model = scaling.hardware.CORE, scaling.model
    network = model.Network(latency=1e-6, bandwidth=bandwidth)
    widths, ranks, threads = (784, 1500, 1500, 10), 8, 4
    messages, serial = model.half_time_samples(widths, ranks, threads, machine, network)
    assert min(messages, serial) == 0 < max(messages, serial)
    tile = threads * model.default_tile_rows(widths)
    each = round(max(messages, serial) / tile) * tile  # ranks hold whole tiles
    found = model.iteration_seconds(ranks * each, widths, ranks, threads, machine, network)
    largest = max(found.all_reduce + found.gather, found.serial + found.rows)
    off = tile / max(messages, serial)
    assert largest == pytest.approx(found.total / 2, rel=0.01 + off)


def test_rates_are_measured_for_all_that_the_model_asks(scaling):
    machine = scaling.calibrate.calibrate_machine(1, repeat=1)
    for name, rate in vars(machine).items():
        assert 1e8 < rate < 1e13, name


@pytest.mark.parametrize(
    ("missing", "user", "needed"), [("tc", 0, "tc of iproute2"), (None, 1000, "root")]
)
def test_hosts_say_what_they_need(scaling, monkeypatch, missing, user, needed):
    made = scaling.hosts
    monkeypatch.setattr(made.shutil, "which", lambda name: None if name == missing else name)
    monkeypatch.setattr(made.os, "geteuid", lambda: user)
    monkeypatch.setattr(made, "_run", lambda *command: pytest.fail(f"{command} was run"))
    with pytest.raises(made.HostsError, match=f"need {needed}"), made.hosts(2):
        pass


def test_bytes_on_the_wire_are_those_of_the_rank_that_sends_most(scaling):
    cost_model = importlib.import_module("cost_model")
    counts = SimpleNamespace(all_reduce_bytes=1000, gather_bytes=120)
    sent = [cost_model.bytes_sent(counts, ranks) for ranks in (2, 3, 4)]
    # As counted at the interfaces of two, three and four hosts: docs/scaling.md.
    assert sent == [1000 + 60, 2000 + 80, 1500 + 90]
