"""The solver agrees with the plain NumPy oracle, and the oracle with the definition."""

import numpy as np
import pytest
from oracle import oracle_of

from fastbcd import Problem, ThreeSplitting
from fastbcd.training.loop import network_of


def make(widths, n, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = scale * rng.standard_normal((n, widths[0]))
    Y = rng.standard_normal((n, widths[-1]))
    return X, Y


def assert_states_agree(state, oracle, relative):
    for name in ("W", "V", "U"):
        for l in range(1, len(state.W)):
            ours, theirs = getattr(state, name)[l], getattr(oracle, name)[l]
            error = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-300)
            assert error <= relative, f"{name}_{l}: relative error {error:.2e}"


SHAPES = {
    "wide then narrow": ((7, 20, 3), 50),
    "narrow then wide": ((5, 4, 11, 2), 50),
    "equal widths": ((6, 8, 8, 8, 3), 40),
    "no hidden layer": ((6, 3), 30),
    "one output": ((6, 9, 1), 30),
    "one sample": ((4, 6, 2), 1),
    "fewer samples than features": ((12, 5, 2), 7),
    "width one": ((3, 1, 1, 2), 20),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu:0.2", "linear"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_five_steps_agree_with_the_oracle(shape, activation, dtype):
    widths, n = SHAPES[shape]
    X, Y = make(widths, n)
    problem = Problem(
        widths,
        activation=activation,
        gamma=1.5,
        rho=0.7,
        weight_penalty="/".join(["ridge:0.1", "none", "ridge:0.3", "ridge:0.2"][: len(widths) - 1]),
        state_penalty="/".join(["none", "ridge:0.2", "ridge:0.1", "none"][: len(widths) - 1]),
    )
    solver = ThreeSplitting(problem, alpha=0.3, alpha_weights=0.2, dtype=dtype, n_threads=2)
    state = solver.init(X, Y, seed=3, bias=0.1)
    oracle = oracle_of(solver, state)
    for _ in range(5):
        state = solver.step(state)
        oracle.step()
    assert_states_agree(state, oracle, {"float32": 2e-4, "float64": 1e-10}[dtype])
    assert solver.objective(state) == pytest.approx(
        oracle.objective(), rel={"float32": 1e-5, "float64": 1e-12}[dtype]
    )


RESIDUAL = {
    "all hidden layers of equal width": ((6, 8, 8, 8, 3), True),
    "plain and residual mixed": ((6, 8, 8, 8, 8, 3), (False, True, False, True, False)),
    "first and last layer, too": ((5, 5, 5, 5), (True, True, True)),
}


@pytest.mark.parametrize("name", RESIDUAL)
@pytest.mark.parametrize("activation", ["relu", "leaky_relu:0.2"])
def test_residual_layers_agree_with_the_oracle(name, activation):
    widths, residual = RESIDUAL[name]
    X, Y = make(widths, 30)
    problem = Problem(widths, activation, rho=0.7, weight_penalty="ridge:0.1", residual=residual)
    solver = ThreeSplitting(problem, alpha=0.3, dtype="float64", tile_rows=8)
    state = solver.init(X, Y, seed=3, bias=0.1)
    oracle = oracle_of(solver, state)
    assert solver.objective(state) == pytest.approx(oracle.objective(), rel=1e-12)
    outputs = network_of(solver, state).forward(X)
    np.testing.assert_allclose(outputs, state.V[-1], rtol=1e-12, atol=1e-12)
    for _ in range(5):
        state = solver.step(state)
        oracle.step()
    assert_states_agree(state, oracle, 1e-10)
    assert solver.objective(state) == pytest.approx(oracle.objective(), rel=1e-12)


@pytest.mark.parametrize("tile_rows", [1, 7, 50, 1000])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_tiles_of_any_size_agree_with_the_oracle(tile_rows, reduction):
    X, Y = make((9, 12, 7, 3), 50)
    problem = Problem((9, 12, 7, 3), weight_penalty="ridge:0.01", reduction=reduction)
    solver = ThreeSplitting(problem, alpha=0.5, dtype="float64", tile_rows=tile_rows, n_threads=3)
    state = solver.init(X, Y, seed=1)
    oracle = oracle_of(solver, state)
    for _ in range(4):
        state = solver.step(state)
        oracle.step()
    assert_states_agree(state, oracle, 1e-11)


def test_the_forward_pass_fills_the_initial_states():
    X, Y = make((5, 6, 2), 10)
    solver = ThreeSplitting(Problem((5, 6, 2)), dtype="float64")
    state = solver.init(X, Y, seed=2, init="normal:0.5", bias=0.25)
    oracle = oracle_of(solver, state)
    U1 = X @ state.W[1][:, :-1].T + 0.25
    np.testing.assert_allclose(state.U[1], U1, rtol=1e-13)
    np.testing.assert_allclose(state.V[1], np.maximum(U1, 0), rtol=1e-13)
    np.testing.assert_allclose(state.V[2], state.U[2], rtol=0)
    assert oracle.objective() == pytest.approx(solver.objective(state), rel=1e-13)


@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("residual", [False, True])
def test_every_block_of_the_oracle_minimises_the_objective_over_its_block(slope, residual):
    # The oracle is judged by the definition: no perturbation of a block it has
    # just updated (with its proximal term) lowers the objective.
    rng = np.random.default_rng(0)
    X, Y = make((4, 5, 5, 3), 6)
    activation = f"leaky_relu:{slope}" if slope < 1 else "linear"
    problem = Problem((4, 5, 5, 3), activation, rho=0.6, residual=residual)
    solver = ThreeSplitting(problem, alpha=0.4, dtype="float64")
    oracle = oracle_of(solver, solver.init(X, Y, seed=5))
    for _ in range(3):
        for name, update in oracle.blocks():
            kind, l = name[0], int(name[2])
            blocks = getattr(oracle, kind)
            old = blocks[l].copy()
            update()
            new = blocks[l].copy()
            alpha = {
                "V": oracle.alpha_states if l == oracle.L else 0.0,
                "U": oracle.alpha_states if l < oracle.L else 0.0,
                "W": oracle.alpha_weights,
            }[kind]

            def proximal_objective(block, blocks=blocks, l=l, alpha=alpha, old=old):
                blocks[l] = block
                return oracle.objective() + alpha / 2 * np.sum((block - old) ** 2)

            best = proximal_objective(new)
            for size in (1e-3, 1e-1, 1.0):
                for _ in range(10):
                    other = new + size * rng.standard_normal(new.shape)
                    assert proximal_objective(other) >= best * (1 - 1e-12), name
            blocks[l] = new
