"""Nothing is computed twice, and nothing as large as a state is allocated: counts, not times."""

import importlib
import itertools
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, kernels
from fastbcd.callbacks import Objective

WIDTHS, SAMPLES = (30, 60, 50, 40, 5), 1000
# Flops of a product kernel by its arguments.
FLOPS = {
    "affine": lambda out, V, W, bias: 2 * out.size * V.shape[1],
    "solve_state": lambda V, U, W, *rest: 4 * V.size * U.shape[1],
    "tile_cross": lambda work, sums, R, V: 2 * R.size * V.shape[1],
    "tile_gram": lambda work, sums, V: V.size * V.shape[1],
    "product": lambda out, A, B, *rest: 2 * out.size * A.shape[1],
    "product_transposed": lambda out, A, B, *rest: 2 * out.size * A.shape[1],
    "step_weights": lambda W, S, work, directions, *rest: 2 * S.size * len(directions),
    "transposed_product": lambda out, A, B, *rest: 2 * out.size * A.shape[0],
}


@pytest.fixture
def floor(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    yield importlib.import_module("suite.floor")
    for name in [name for name in sys.modules if name.split(".")[0] == "suite"]:
        del sys.modules[name]


@pytest.fixture
def flops(monkeypatch):
    """A list to which every product over samples adds its flops."""
    done = []

    def counted(kernel, count):
        def call(*arguments):
            done.append(count(*arguments))
            return kernel(*arguments)

        return call

    for name, count in FLOPS.items():
        monkeypatch.setattr(kernels, name, counted(getattr(kernels, name), count))
    return done


def start(n=SAMPLES, **options):
    rng = np.random.default_rng(0)
    X, Y = rng.random((n, WIDTHS[0])), np.eye(WIDTHS[-1])[rng.integers(WIDTHS[-1], size=n)]
    solver = ThreeSplitting(Problem(WIDTHS), tile_rows=100, **options)
    return solver, solver.init(X, Y)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_iteration_multiplies_no_more_than_its_floor(floor, flops, n_threads):
    least = floor.product_flops(floor.irreducible_calls(WIDTHS, SAMPLES))
    solver, state = start(n_threads=n_threads)
    flops.clear()
    solver.step(state)
    assert sum(flops) == least + SAMPLES * WIDTHS[0] ** 2  # the inputs' Gram matrix, once
    flops.clear()
    solver.step(state)
    assert sum(flops) == least


@pytest.mark.parametrize("rank", [0, 3])
def test_a_mini_batch_multiplies_no_more_than_its_floor_and_thin_products(floor, flops, rank):
    m, units = 100, sum(WIDTHS[1:])
    columns = [d + 1 for d in WIDTHS[:-1]]
    solver = MiniBatchThreeSplitting(Problem(WIDTHS), batch_size=m, rank=rank, step_size=1e-3)
    full = start()[1]
    state = solver.init(full.X, full.Y, passes=2)
    solver.partial_fit(state, full.X[:m], full.Y[:m])  # the first one measures sizes beforehand
    flops.clear()
    solver.partial_fit(state, full.X[:m], full.Y[:m])
    bias = 4 * m * units  # a column of ones, forward and in the cross product
    metric = 4 * rank * sum(m * c + d * c for c, d in zip(columns, WIDTHS[1:], strict=True))
    assert sum(flops) == floor.product_flops(floor.mini_batch_calls(WIDTHS, m)) + bias + metric


def test_accuracy_and_objective_cost_nothing_where_nobody_asks(floor, flops):
    least = floor.product_flops(floor.irreducible_calls(WIDTHS, SAMPLES))
    solver, state = start()
    flops.clear()
    result = solver.fit(state.X, state.Y, max_iter=3)
    plain = sum(flops)
    forward = 2 * SAMPLES * sum(d * e for d, e in itertools.pairwise(WIDTHS))
    assert plain == forward + 3 * least + SAMPLES * WIDTHS[0] ** 2
    flops.clear()
    solver.fit(state.X, state.Y, max_iter=3, callbacks=[Objective()])
    assert sum(flops) == plain + 3 * forward
    assert "objective" not in result.history[0]


def test_a_step_allocates_no_array_of_the_size_of_a_state():
    solver, state = start(n=20_000, n_threads=1)
    solver.step(state)
    tracemalloc.start()
    try:
        solver.step(state)
        solver.objective(state)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * min(V.nbytes for V in state.V[1:])
