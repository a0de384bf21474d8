"""Same seed, same bytes; and invariances that the mathematics promises."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fastbcd import Problem, ThreeSplitting, one_hot
from fastbcd.kernels.library import LIBRARY
from fastbcd.layers.normal_equations import NormalEquations


def data(n=700, d=20, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), one_hot(rng.integers(k, size=n), k)


def weights(n_threads=1, dtype="float32", reduction="mean", copies=1, steps=4, alpha=0.01):
    X, Y = data()
    X, Y = np.tile(X, (copies, 1)), np.tile(Y, (copies, 1))
    problem = Problem((20, 30, 30, 4), weight_penalty="ridge:1e-3", reduction=reduction)
    solver = ThreeSplitting(problem, alpha=alpha, dtype=dtype, n_threads=n_threads, tile_rows=64)
    state = solver.init(X, Y, seed=7)
    for _ in range(steps):
        state = solver.step(state)
    return state.W[1:]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_results_are_identical_to_the_last_bit_on_any_number_of_threads(dtype, n_threads):
    for one, many in zip(weights(1, dtype), weights(n_threads, dtype), strict=True):
        np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(("dtype", "relative"), [("float32", 2e-4), ("float64", 1e-10)])
def test_duplicating_every_sample_leaves_the_weights_unchanged_with_mean(dtype, relative):
    for one, two in zip(weights(dtype=dtype), weights(dtype=dtype, copies=2), strict=True):
        assert np.abs(one - two).max() <= relative * np.abs(one).max()


def test_duplicating_every_sample_changes_the_weights_with_sum():
    # The test above would pass for a solver that ignored half of the samples.
    once, twice = (weights(reduction="sum", alpha=9.0, copies=m) for m in (1, 2))
    assert np.abs(once[-1] - twice[-1]).max() > 1e-3 * np.abs(once[-1]).max()


def test_float32_and_float64_start_from_the_same_weights():
    for single, double in zip(weights(steps=0), weights(steps=0, dtype="float64"), strict=True):
        np.testing.assert_array_equal(single, double.astype(np.float32))


def test_blas_threads_are_restored_also_after_an_error():
    before = [library["num_threads"] for library in threadpool_info()]
    X, Y = data()
    solver = ThreeSplitting(Problem((20, 5, 4)), n_threads=2, tile_rows=64)
    state = solver.init(X, Y)
    state.V[1][350:] = np.nan
    state.U[1][350:] = np.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        solver.step(state)
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_an_exception_in_one_thread_ends_the_others():
    solver = ThreeSplitting(Problem((20, 5, 4)), n_threads=3, tile_rows=10)

    def body(tile):
        if tile.index == 5:
            raise RuntimeError("tile 5")
        tile.wait_for_turn()

    with solver.device.session(), pytest.raises(RuntimeError, match="tile 5"):
        solver.device.for_each_tile(1000, (20, 5), "float32", body)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_tiles_may_wait_for_their_turn_twice_or_never(n_threads):
    solver = ThreeSplitting(Problem((20, 5, 4)), n_threads=n_threads, tile_rows=10)
    order = []

    def body(tile):
        if tile.index % 2:
            tile.wait_for_turn()
            tile.wait_for_turn()
            order.append(tile.index)

    with solver.device.session():
        solver.device.for_each_tile(100, (20, 5), "float32", body)
    assert order == [1, 3, 5, 7, 9]


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def test_blas_is_as_before_when_the_last_of_several_sessions_ends():
    before = blas_threads()
    one, two = (ThreeSplitting(Problem((20, 5, 4)), n_threads=2).device for _ in range(2))
    first, second = one.session(), two.session()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == before if LIBRARY.own else set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_a_step_that_was_interrupted_leaves_no_half_a_gram_matrix():
    X, Y = data()
    solver = ThreeSplitting(Problem((20, 30, 4)), n_threads=1, tile_rows=64, dtype="float64")
    state = solver.init(X, Y)
    add = NormalEquations.add

    def interrupted(self, tile, R, V):
        add(self, tile, R, V)
        if V.shape[1] == 20 and tile.index == 2:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NormalEquations, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.step(state)
    solver.step(state)
    assert state.cache.weight_blocks[1].gram[-1, -1] == len(X)


def test_a_solver_and_its_state_survive_pickling():
    X, Y = data()
    solver = ThreeSplitting(Problem((20, 30, 4), "leaky_relu:0.1"), n_threads=2, tile_rows=64)
    state = solver.step(solver.init(X, Y))
    twin_solver, twin = pickle.loads(pickle.dumps((solver, state)))
    solver.step(state)
    twin_solver.step(twin)
    for ours, theirs in zip(state.W[1:], twin.W[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_pickled_solver_works_in_another_process(tmp_path):
    X, Y = data(n=50)
    problem = Problem((20, 6, 4), "leaky_relu:0.1", weight_penalty="ridge:1")
    solver = ThreeSplitting(problem, n_threads=1)
    (tmp_path / "run").write_bytes(pickle.dumps((solver, solver.init(X, Y))))
    # Kernels may come from the cache on disk, which needs no functions of a formula. `value` does.
    script = (
        "import pickle, sys\n"
        "from numba import njit\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    solver, state = pickle.load(file)\n"
        "value = njit(lambda formula, x: formula.value(x))\n"
        "formulas = solver.problem.activations[0], solver.problem.weight_penalties[0]\n"
        "print(*(value(formula, -2.0) for formula in formulas), solver.step(state).iteration)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "-0.2 2.0 1\n", done.stderr
