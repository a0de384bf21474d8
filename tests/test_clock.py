"""Time per block: what a clock counts, and that it changes no result."""

import pickle
import threading
import time

import numpy as np
import pytest
from test_certificate import data

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting, warmup
from fastbcd.callbacks import BlockTimes
from fastbcd.training.clock import BlockClock, laps, laps_of_all_threads

ALGORITHMS = {
    "three-splitting": lambda **o: ThreeSplitting(Problem((4, 40, 30, 3), "tanh"), **o),
    "two-splitting": lambda **o: TwoSplitting(Problem((4, 40, 30, 3), "tanh"), **o),
    "mini-batches": lambda **o: MiniBatchThreeSplitting(Problem((4, 40, 30, 3)), 500, **o),
}
MADE = pytest.mark.parametrize("make", ALGORITHMS.values(), ids=list(ALGORITHMS))


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_lap_counts_the_threads_own_work_and_not_its_waiting():
    clock = BlockClock()
    lap = laps(clock)
    burn(0.03)
    lap("V", 1)
    time.sleep(0.05)
    lap("U", 1)
    burn(0.02)
    lap("V", 2)
    assert clock.seconds("V") == pytest.approx(0.05, rel=0.3)
    assert clock.seconds("U") < 0.02
    assert clock.seconds("W") is None
    assert clock.total == pytest.approx(sum(clock.blocks.values()))
    clock.clear()
    assert (clock.blocks, clock.total) == ({}, 0.0)


def test_laps_of_all_threads_count_what_threads_did_not_count_by_themselves():
    clock = BlockClock()
    rest = laps_of_all_threads(clock)

    def work():
        lap = laps(clock)
        burn(0.03)
        lap("V", 1)
        burn(0.02)  # uncounted here: for the rest

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    burn(0.01)
    rest("W", 1)
    assert clock.blocks["V", 1] == pytest.approx(0.06, rel=0.3)
    assert clock.blocks["W", 1] == pytest.approx(0.05, rel=0.4)


@MADE
def test_a_clock_changes_no_bit_of_a_run_and_is_not_kept(make):
    X, Y = data(n=200)
    plain, timed = make(n_threads=2, tile_rows=64), make(n_threads=2, tile_rows=64)
    results = [
        solver.fit(X, Y, max_iter=3, callbacks=callbacks)
        for solver, callbacks in ((plain, []), (timed, [BlockTimes()]))
    ]
    for a, b in zip(*(result.state.W[1:] for result in results), strict=True):
        assert a.tobytes() == b.tobytes()
    state = results[1].state
    assert state.clock is None
    state.clock = BlockClock()
    assert pickle.loads(pickle.dumps(state)).clock is None


@MADE
def test_blocks_of_every_layer_add_up_to_the_processors_time(make):
    X, Y = data(n=20000)
    solver = make(n_threads=2)
    warmup(solver)
    state = solver.init(X, Y)
    state.clock = BlockClock()
    solver.step(state)
    before = time.process_time()
    solver.step(state)
    spent = time.process_time() - before
    kinds = "VW" if isinstance(solver, TwoSplitting) else "VUW"
    measured = {block for block in state.clock.blocks if block[1] > 0}
    assert measured == {(kind, l) for kind in kinds for l in (1, 2, 3)}
    assert all(seconds > 0 for seconds in state.clock.blocks.values())
    # Batches come with a little work of no block: shuffling, handing them to threads.
    assert 0.5 * spent < state.clock.total <= 1.02 * spent


def test_the_callback_records_each_iterations_own_seconds():
    X, Y = data(n=400)
    for name, make in ALGORITHMS.items():
        history = make().fit(X, Y, max_iter=4, callbacks=[BlockTimes()]).history
        columns = BlockTimes.columns
        if name == "two-splitting":
            assert all("seconds_U" not in record for record in history)
            columns = ("seconds_V", "seconds_W")
        assert all(record[column] > 0 for record in history for column in columns)
        # Of one iteration, not of all so far: the first one compiles or loads the kernels.
        assert all(record["seconds_W"] < 1.0 for record in history[2:])


def test_a_users_clock_stays_and_goes_on():
    X, Y = data()
    solver = ThreeSplitting(Problem((4, 5, 3)))
    state = solver.init(X, Y)
    state.clock = clock = BlockClock()
    callback = BlockTimes()
    callback.on_start(solver, state, 1)
    solver.step(state)
    record = {"iteration": 1}
    callback.on_iteration(solver, state, record)
    assert record["seconds_W"] == clock.seconds("W") > 0
    assert state.clock is clock
    assert np.isfinite(clock.total)
