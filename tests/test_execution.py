"""One record says where the work runs; its fields may be given as keywords instead."""

import importlib

import numpy as np
import pytest

from fastbcd import (
    Execution,
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
)

SOLVERS = [ThreeSplitting, TwoSplitting, MiniBatchThreeSplitting]
PROBLEM = Problem((3, 4, 2))


@pytest.mark.parametrize("solver", SOLVERS)
def test_record_and_keywords_give_the_same_solver(solver):
    record = Execution(dtype="float64", n_threads=2, tile_rows=7)
    for made in (solver(PROBLEM, execution=record), solver(PROBLEM, dtype="float64", n_threads=2)):
        assert made.dtype == np.float64
        assert made.device.n_threads == 2
    assert solver(PROBLEM, execution=record).device.tile_rows((3, 4, 2), "float64") == 7


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_record_serves_several_solvers_which_share_nothing(solver):
    record = Execution(n_threads=1)
    one, two = (solver(PROBLEM, execution=record) for _ in range(2))
    assert one.device is not two.device


@pytest.mark.parametrize("solver", SOLVERS)
def test_errors_name_the_field(solver):
    with pytest.raises(TypeError, match="unexpected keyword argument 'threads'; known: .*n_thread"):
        solver(PROBLEM, threads=2)
    with pytest.raises(InputError, match="execution: it has the field 'dtype', too; give one"):
        solver(PROBLEM, execution=Execution(), dtype="float64")
    with pytest.raises(InputError, match="execution must be an Execution, got 'cuda'"):
        solver(PROBLEM, execution="cuda")
    with pytest.raises(InputError, match="dtype must be one of float32, float64, got 'half'"):
        solver(PROBLEM, dtype="half")
    with pytest.raises(InputError, match="device: unknown name 'tpu'|device must be one of"):
        solver(PROBLEM, device="tpu")


def test_names_of_the_release_before_still_work_and_say_what_they_are_called_now():
    from fastbcd import kernels
    from fastbcd.training.descent_log import DescentLog

    solver = ThreeSplitting(PROBLEM)
    state = solver.init(np.ones((4, 3)), np.ones((4, 2)))
    with pytest.warns(DeprecationWarning, match=r"State.ledger is now called descent_log"):
        state.ledger = DescentLog()
    with pytest.warns(DeprecationWarning, match="ThreeSplitting.energy is now called magnitude_bo"):
        assert solver.energy(state) == solver.magnitude_bound(state)
    for old, new in kernels.RENAMED.items():
        with pytest.warns(DeprecationWarning, match=f"fastbcd.kernels.{old} is now called {new}"):
            assert getattr(kernels, old) is getattr(kernels, new)
    with pytest.warns(DeprecationWarning, match=r"fastbcd.mini_batch is now called fastbcd.solv"):
        importlib.import_module("fastbcd.mini_batch")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kernels.nothing
