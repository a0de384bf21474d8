"""Threads: BLAS has one thread while ours share the work, and its own number afterwards."""

import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fastbcd import OversubscriptionWarning, Problem, ThreeSplitting
from fastbcd.devices import CPU
from fastbcd.devices.threads import BLAS_LIMIT, available_processors
from fastbcd.kernels.library import LIBRARY


def blas_threads():
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


def test_a_session_changes_the_count_of_blas_only_where_kernels_call_the_process_s():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        device = CPU(n_threads=2)
        with device.session(), device.session():
            assert set(blas_threads()) == {2 if LIBRARY.own else 1}
        assert blas_threads() == before
        assert set(before) == {2}


def test_the_count_is_restored_where_a_step_fails():
    solver = ThreeSplitting(Problem((3, 4, 2)), n_threads=2, tile_rows=4)
    state = solver.init(np.ones((20, 3)), np.eye(2)[np.arange(20) % 2])
    state.V[1][:] = np.nan
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(FloatingPointError):
            solver.step(state)
        assert blas_threads() == before


def test_two_solvers_at_once_restore_what_was_there_before_the_first():
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        BLAS_LIMIT.__enter__()
        BLAS_LIMIT.__enter__()
        BLAS_LIMIT.__exit__()
        assert set(blas_threads()) == {1}
        BLAS_LIMIT.__exit__()
        assert blas_threads() == before


def test_the_default_is_what_blas_would_use():
    with threadpool_limits(1, user_api="blas"):
        assert CPU().n_threads == 1


def warn_in_a_new_process(*counts):
    """Warnings of a process that makes solvers with so many threads."""
    script = (
        "import warnings\n"
        "from fastbcd import Problem, ThreeSplitting\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        f"    for n in {counts}: ThreeSplitting(Problem((2, 2)), n_threads=n)\n"
        "for w in caught: print(w.category.__name__, w.message, w.filename)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_too_many_threads_warn_once_and_name_the_processors():
    n = available_processors()
    (warning,) = warn_in_a_new_process(n + 1, n + 2, n + 1)
    assert f"n_threads={n + 1}" in warning
    assert f"may use {n} processors" in warning
    assert warning.startswith("OversubscriptionWarning")
    assert "<string>" in warning  # the line that made the solver, not one of ours


def test_as_many_threads_as_processors_do_not_warn():
    assert warn_in_a_new_process(1, available_processors()) == []


def test_the_warning_is_one_that_can_be_filtered():
    assert issubclass(OversubscriptionWarning, RuntimeWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ThreeSplitting(Problem((2, 2)))


@pytest.mark.parametrize(
    ("n", "multiplications", "sizes"),
    [
        (125, 647_000, [63, 62]),  # half of the batch for each of two threads
        (490, 100_000, [490]),  # half of it is not worth a thread
        (900, 60_000, [450, 450]),
        (50, 5_000_000, [25, 25]),
        (1, 10**9, [1]),
        (500, 647_000, [250, 250]),
        (1000, 647_000, [250] * 4),  # of 256 samples at most, as equal as they can be
        (0, 647_000, []),
    ],
)
def test_tiles_of_a_batch_are_halves_that_are_worth_a_thread(n, multiplications, sizes):
    for n_threads in (1, 2):
        device, found = CPU(n_threads=n_threads), []
        with device.session():
            device.for_each_tile(
                n,
                (784, 500, 10),
                "float32",
                lambda tile, found=found: found.append((tile.rows.start, tile.rows.stop)),
                multiplications=multiplications,
            )
        ends = np.cumsum([0, *sizes])
        assert sorted(found) == list(pairwise(ends))
