"""Formulas as arguments of kernels: user-defined ones, and no stale machine code."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import njit

from fastbcd import Problem, ThreeSplitting, TwoSplitting, kernels
from fastbcd.callbacks import Certify
from fastbcd.kernels import Formula, Loss, Penalty, leaky_relu, none, relu
from fastbcd.kernels.jit import scalar


def test_kernels_can_be_called_from_a_users_compiled_function():
    activation = relu()

    @njit
    def rectify_twice(out, U):
        kernels.activate(out, activation, U, None)
        kernels.activate(out, activation, out, None)

    U = np.array([[-1.0, 2.0]])
    out = np.empty_like(U)
    rectify_twice(out, U)
    np.testing.assert_array_equal(out, [[0.0, 2.0]])


def test_an_activation_from_outside_the_package_trains_a_network():
    @scalar
    def value(u, p):
        return u * type(u)(p[0])

    @scalar
    def prox(a, c, q, p):
        s = type(c)(p[0])
        return (s * a + q * c) / (s * s + q)

    double = Formula("scaled", (2.0,), value=value, prox=prox)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    solver = ThreeSplitting(Problem((4, 5, 2), activation=double), dtype="float64")
    state = solver.init(X, Y)
    before = solver.objective(state)
    assert solver.objective(solver.step(state)) < before


def test_a_loss_and_a_penalty_from_outside_the_package_train_a_network():
    # Huber's loss of each output, and a penalty that pulls weights and states to 1/2.
    @scalar
    def row_value(v, y, p):
        total = 0.0
        for j in range(v.shape[0]):
            miss = abs(np.float64(v[j]) - y[j])
            total += 0.5 * miss * miss if miss <= 1.0 else miss - 0.5
        return total

    @scalar
    def row_gradient(out, v, y, p):
        for j in range(v.shape[0]):
            out[j] = min(max(v[j] - y[j], -1.0), 1.0)

    @scalar
    def row_prox(out, center, work, y, q, p):
        for j in range(out.shape[0]):
            c = center[j] - y[j]
            near = q * c / (1.0 + q)
            out[j] = y[j] + (near if abs(near) <= 1.0 else c - np.sign(c) / q)

    @scalar
    def value(w, p):
        return p[0] * abs(w - 0.5)

    @scalar
    def prox(c, step, p):
        return 0.5 + np.sign(c - 0.5) * max(abs(c - 0.5) - step * p[0], 0.0)

    @scalar
    def subdifferential(w, p):
        return p[0] if w > 0.5 else -p[0], -p[0] if w < 0.5 else p[0]

    huber = Loss(
        "huber", lipschitz=1.0, row_value=row_value, row_gradient=row_gradient, row_prox=row_prox
    )
    half = Penalty("half", (0.05,), value=value, prox=prox, subdifferential=subdifferential)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((60, 4)), rng.standard_normal((60, 2))
    problem = Problem(
        (4, 8, 2), "tanh", loss=huber, weight_penalty=half, state_penalty=[half, none()]
    )
    for solver in (
        ThreeSplitting(problem, dtype="float64"),
        TwoSplitting(problem, dtype="float64"),
        ThreeSplitting(problem, alpha=0.1, loss_update="prox-linear"),
    ):
        result = solver.fit(X, Y, max_iter=40, callbacks=[Certify(every=10)])
        assert result.certificate.descended
        assert result.certificate.decreased_sufficiently
        assert result.history[-1]["subgradient"] < 0.8 * result.history[9]["subgradient"]
        assert (result.state.W[1][:, :-1] == 0.5).any()
        assert (result.state.V[1] == 0.5).any()


def test_parameters_are_run_time_values_that_compile_nothing_again():
    out, U = np.empty((1, 1)), np.array([[-1.0]])
    kernels.activate(out, leaky_relu(0.1), U, None)
    compiled = len(kernels.activate.signatures)
    kernels.activate(out, leaky_relu(0.2), U, None)
    assert out[0, 0] == -0.2
    assert len(kernels.activate.signatures) == compiled


def test_the_digest_sees_every_place_where_a_formula_keeps_its_numbers():
    def by_called_function(number):
        namespace = {"scalar": scalar}
        exec(f"@scalar\ndef inner(u):\n    return u * {number}", namespace)
        exec("@scalar\ndef value(u, p):\n    return inner(u)", namespace)
        return namespace["value"]

    def by_closure(number):
        @scalar
        def value(u, p):
            return u * number

        return value

    def by_default(number):
        @scalar
        def value(u, p, factor=number):
            return u * factor

        return value

    def by_global(number):
        namespace = {"scalar": scalar, "C": (number, 1.0)}
        exec("@scalar\ndef value(u, p):\n    return u * C[0]", namespace)
        return namespace["value"]

    for make in (by_called_function, by_closure, by_default, by_global):
        two, again, three = (Formula("f", value=make(number)) for number in (2.0, 2.0, 3.0))
        assert two.numba_type == again.numba_type, make.__name__
        assert two.numba_type != three.numba_type, make.__name__
        out = np.empty((1, 1))
        for formula, expected in ((two, 2.0), (three, 3.0)):
            kernels.activate(out, formula, np.ones((1, 1)), None)
            assert out[0, 0] == expected, make.__name__


def test_functions_that_are_not_compiled_are_refused():
    with pytest.raises(TypeError, match="value: compile this function with"):
        Formula("f", value=lambda u, p: u)


def test_an_edited_formula_is_not_served_the_old_machine_code(tmp_path):
    script = textwrap.dedent("""
        import numpy as np
        from fastbcd import kernels
        from mine import FORMULA
        out = np.empty((1, 1))
        kernels.activate(out, FORMULA, np.ones((1, 1)), None)
        print(out[0, 0])
    """)
    source = (
        "from fastbcd.kernels import Formula\nfrom fastbcd.kernels.jit import scalar\n"
        "@scalar\ndef value(u, p):\n    return u * {}\n"
        "FORMULA = Formula('mine', value=value)\n"
    )
    for factor in (2.0, 5.0):
        (tmp_path / "mine.py").write_text(source.format(factor))
        command = [
            sys.executable,
            "-B",
            "-c",
            f"import sys; sys.path[0] = {str(tmp_path)!r}\n{script}",
        ]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert float(printed) == factor


def test_unknown_functions_are_refused():
    with pytest.raises(TypeError, match="unknown function"):
        Formula("f", valeu=None)
    with pytest.raises(AttributeError, match="has no 'prox'"):
        _ = Formula("f").prox


def test_the_old_name_shrink_of_a_penaltys_prox_works_with_a_warning():
    @scalar
    def prox(c, step, p):
        return c / (1.0 + step * p[0])

    @njit
    def old(penalty, c):
        return penalty.shrink(c, 1.0)

    with pytest.warns(DeprecationWarning, match="shrink is now called prox"):
        penalty = Penalty("old", (2.0,), shrink=prox)
    with pytest.warns(DeprecationWarning, match="shrink is now called prox"):
        assert penalty.shrink(6.0, 1.0) == penalty.prox(6.0, 1.0) == 2.0
    with pytest.warns(DeprecationWarning, match="is now called prox"):
        assert old(penalty, 6.0) == 2.0
