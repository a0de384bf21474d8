"""The promise of Theorem 1: the objective never rises, for any parameters."""

import copy
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import oracle_of
from share import count

from fastbcd import Problem, ThreeSplitting, TwoSplitting
from fastbcd.training.descent_log import DescentLog

PENALTIES = ["none", "ridge:0.001", "ridge:1", "ridge:100", "l1:0.01", "elastic_net:1,0.5"]
PENALTIES += ["nonnegative", "box:-0.5,0.25"]
ACTIVATIONS = ["relu", "leaky_relu:0.1", "linear", "sigmoid", "tanh", "softplus"]
ACTIVATIONS += ["polynomial:0.1,1,-0.2", "polynomial:0,1,0,0.1"]
ALGORITHMS = [ThreeSplitting, TwoSplitting]

powers = st.floats(-3, 3).map(lambda exponent: 10.0**exponent)


@st.composite
def runs(draw, dtype):
    widths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    if draw(st.booleans()):  # equal widths, so that residual layers are possible
        widths = [widths[0]] * len(widths)
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.floats(-6, 6))
    X = scale * rng.standard_normal((n, widths[0]))
    Y = draw(st.sampled_from([1.0, scale])) * rng.standard_normal((n, widths[-1]))
    equal = [d == e for d, e in pairwise(widths)]
    L = len(equal)
    penalties = st.sampled_from(PENALTIES)
    algorithm = draw(st.sampled_from(ALGORITHMS))
    three = algorithm is ThreeSplitting
    activation = draw(st.sampled_from(ACTIVATIONS))
    if activation.startswith("polynomial"):  # whose powers leave the range of float32
        X, Y = np.clip(X, -1, 1), np.clip(Y, -1, 1)
    problem = Problem(
        widths,
        activation=activation,
        gamma=draw(powers),
        rho=draw(st.none() | powers) if three else None,
        weight_penalty=draw(penalties | st.lists(penalties, min_size=L, max_size=L)),
        state_penalty=draw(st.just("none") | st.lists(penalties, min_size=L, max_size=L)),
        residual=[three and same and draw(st.booleans()) for same in equal],
        reduction=draw(st.sampled_from(["mean", "sum"])),
    )
    more = {} if three else {"inner_steps": draw(st.integers(1, 3))}
    solver = algorithm(
        problem,
        alpha=draw(powers),
        **more,
        alpha_weights=draw(st.none() | powers),
        dtype=dtype,
        n_threads=1,
        tile_rows=draw(st.sampled_from([1, 8, 64])),
    )
    return solver, solver.init(X, Y, seed=draw(st.integers(0, 100)))


def moved(solver, before, after):
    """``|P - P'|^2`` from the arrays, in the norm of the descent_log."""
    unit = solver.problem.per_sample(after.n)
    total = 0.0
    for name, weight in (("W", 1.0), ("V", unit), ("U", unit)):
        for a, b in zip(getattr(after, name), getattr(before, name), strict=True):
            if a is not None:
                total += weight * np.sum((a.astype(np.float64) - b) ** 2)
    return total


def objectives(solver, state, n_steps=4):
    """Objective before and after each step, by the oracle, in float64; a rounding scale.

    Third, what the blocks report: decrease and squared step of each iteration.
    """
    values, energies, reports = [], [], []
    state.descent_log = DescentLog()
    for step in range(n_steps + 1):
        if step:
            before = copy.deepcopy(state)
            solver.step(state)
            reports.append(
                (
                    state.descent_log.decrease,
                    state.descent_log.squared_step,
                    moved(solver, before, state),
                )
            )
        oracle = oracle_of(solver, state)
        values.append(oracle.objective())
        # What F would be if nothing cancelled: rounding errors scale with it.
        energy = sum(np.sum(block**2) for block in [oracle.Y, *oracle.V[1:], *oracle.U[1:]])
        energies.append((oracle.w + oracle.gamma + oracle.rho) * energy)
    return np.array(values), np.array(energies), np.array(reports)


@settings(max_examples=count(80, at_least=10), deadline=None)
@given(runs("float64"))
def test_objective_falls_by_what_blocks_report_and_the_theorem_promises_in_float64(run):
    F, energy, reports = objectives(*run)
    noise = 1e-12 * F[:-1] + 1e-24 * energy[:-1]
    fall, (decrease, squared_step, moved) = F[:-1] - F[1:], reports.T
    # What the arrays moved, where that is more than their own rounding.
    np.testing.assert_allclose(squared_step, moved, rtol=1e-7, atol=1e-20 * energy.max())
    assert (fall >= -noise).all(), F
    assert (np.abs(fall - decrease) <= 1e-11 * F[:-1] + 1e-14 * energy[:-1]).all(), reports
    assert (decrease >= run[0].promised_decrease() * squared_step - noise).all(), reports


@settings(max_examples=count(80, at_least=10), deadline=None)
@given(runs("float32"))
def test_objective_never_rises_in_float32(run):
    F, energy, _ = objectives(*run)
    eps = float(np.finfo(np.float32).eps)
    assert (F[1:] - F[:-1] <= 1e-7 * F[:-1] + eps**2 * energy[:-1]).all(), F


def test_a_step_beyond_a_bound_is_not_taken_and_then_cut():
    # Formulas of constraints let pass what rounding to float32 puts outside. A step of W that went
    # as far was projected afterwards, and F fell by 7e-9 more than was said.
    rng = np.random.default_rng(5)
    X, Y = 1e-3 * rng.standard_normal((4, 10)), 1e-3 * rng.standard_normal((4, 3))
    off = []
    for seed in range(40):
        problem = Problem((10, 1, 3), gamma=0.3, weight_penalty="box:-0.5,0.25")
        solver = TwoSplitting(problem, alpha=0.1, inner_steps=3, dtype="float64", n_threads=1)
        F, _, reports = objectives(solver, solver.init(X, Y, seed=seed))
        off.append(np.abs(F[:-1] - F[1:] - reports[:, 0]) / F[:-1])
    assert np.max(off) < 1e-13
