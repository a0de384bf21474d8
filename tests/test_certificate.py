"""The certificate: subgradients by their definition, and verdicts that can be negative."""

import numpy as np
import pytest

from fastbcd import InputError, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.callbacks import Accuracy, Certify, Objective
from fastbcd.kernels import Formula, Loss, Penalty, squared
from fastbcd.training.certificate import Certificate
from fastbcd.training.descent_log import DescentLog
from fastbcd.training.loop import Callback, run


def data(n=40, k=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    X = rng.standard_normal((k, 4))[labels] + 0.5 * rng.standard_normal((n, 4))
    return X, one_hot(labels, k)


@pytest.mark.parametrize("algorithm", [ThreeSplitting, TwoSplitting])
def test_measuring_changes_no_bit_of_a_run(algorithm):
    X, Y = data()
    solver = algorithm(Problem((4, 6, 5, 3), "tanh", weight_penalty="l1:1e-3"), tile_rows=16)
    plain, measured = solver.init(X, Y), solver.init(X, Y)
    measured.descent_log = DescentLog()
    for _ in range(4):
        solver.step(plain)
        solver.step(measured)
        assert measured.descent_log.decrease > 0
    for name in ("W", "V"):
        for a, b in zip(getattr(plain, name)[1:], getattr(measured, name)[1:], strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("algorithm", [ThreeSplitting, TwoSplitting])
def test_a_run_gets_a_certificate_that_tracks_f_without_evaluating_it(algorithm, dtype):
    X, Y = data(n=120)
    solver = algorithm(Problem((4, 8, 8, 3), weight_penalty="ridge:1e-3"), dtype=dtype)
    result = solver.fit(X, Y, max_iter=40, callbacks=[Certify(every=4)])
    certificate, history = result.certificate, result.history
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.smallest_decrease >= certificate.promised > 0
    F = solver.objective(result.state)
    assert history[-1]["tracked_objective"] == pytest.approx(
        F, rel={"float32": 1e-4, "float64": 1e-12}[dtype]
    )
    measured = [row["iteration"] for row in history if "subgradient" in row]
    assert measured == list(range(4, 41, 4))
    assert history[-1]["subgradient"] < 0.5 * history[3]["subgradient"]
    assert certificate.mean_squared_subgradient <= certificate.rate_bound
    assert -1.2 <= certificate.rate < -0.5
    assert str(certificate).count("held") == 3
    assert "objective" not in history[-1]
    assert result.state.descent_log is None


def test_evaluations_correct_what_is_tracked():
    X, Y = data(n=120)
    solver = ThreeSplitting(Problem((4, 8, 3)))
    result = solver.fit(X, Y, max_iter=30, callbacks=[Objective(every=10), Certify(every=30)])
    for row in result.history:
        assert row["tracked_objective"] == pytest.approx(
            row.get("objective", row["tracked_objective"]), rel=1e-5
        )
    assert 0 < result.certificate.tracking_error < 1e-5


def test_a_run_without_the_callback_has_none():
    X, Y = data()
    solver = ThreeSplitting(Problem((4, 3)))
    result = solver.fit(X, Y, max_iter=1, callbacks=[Accuracy("train", X, Y.argmax(axis=1))])
    assert result.certificate is None


def test_broken_promises_are_called_failed():
    certificate = Certificate("float64", promised=0.5, start=10.0)
    certificate.add(1, decrease=1.0, squared_step=1.0)
    assert certificate.descended
    assert certificate.decreased_sufficiently
    certificate.add(2, decrease=0.1, squared_step=1.0)
    assert not certificate.decreased_sufficiently
    certificate.add(3, decrease=-0.5, squared_step=1.0, objective=9.4)
    assert not certificate.descended
    words = str(certificate)
    assert "descent FAILED: F rose in 1 of 3 iterations, by up to 0.056 of F" in words
    assert "sufficient decrease FAILED in 2 iterations" in words
    assert "no subgradient was measured" in words
    assert certificate.largest_rise == pytest.approx(0.5 / 8.9)


def test_an_objective_that_rises_while_the_blocks_report_a_fall_is_found_out():
    certificate = Certificate("float64", promised=0.5, start=10.0)
    certificate.add(1, decrease=1.0, squared_step=1.0, objective=11.0)
    assert not certificate.descended
    assert certificate.tracking_error == pytest.approx(2 / 10)


def test_numbers_that_are_not_finite_end_the_run():
    for start, given in ((np.inf, (1.0, 1.0)), (1.0, (np.nan, 1.0)), (1.0, (1.0, np.inf))):
        with pytest.raises(FloatingPointError, match="the certificate ends at iteration 3"):
            Certificate("float32", 0.5, start).add(3, *given)
    X, Y = data()
    solver = ThreeSplitting(Problem((4, 5, 3), weight_penalty="l1:1e-3"))
    with pytest.raises(FloatingPointError):
        solver.fit(1e22 * X, Y, max_iter=5, callbacks=[Certify()])


def test_what_two_ratios_allow_is_for_the_mean_of_what_was_measured():
    certificate = Certificate("float64", promised=1e-3, start=100.0)
    for t in range(1, 101):
        due = t % 10 == 0
        small = 1.0 if due else 1e-6
        certificate.add(t, small, small, squared_subgradient=1.0 if due else None)
    assert certificate.mean_squared_subgradient == 1.0
    assert certificate.rate_bound == pytest.approx((10 + 90e-6) / 10)


def test_standing_still_away_from_a_critical_point_is_called_failed():
    certificate = Certificate("float64", promised=0.5, start=1.0)
    for t in range(1, 6):
        certificate.add(t, 0.0, 0.0, squared_subgradient=4.0)
    assert "relative error FAILED in 5 iterations without a step" in str(certificate)
    assert "every step was too small to tell" in str(certificate)


def test_steps_below_rounding_do_not_count_for_the_ratio():
    certificate = Certificate("float64", promised=0.5, start=1.0)
    certificate.add(1, decrease=0.2, squared_step=0.1)
    certificate.add(2, decrease=-1e-16, squared_step=1e-20)
    assert certificate.smallest_decrease == pytest.approx(2.0)
    assert certificate.decreased_sufficiently
    assert certificate.descended


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_perfect_fit_is_no_failure(dtype):
    # F falls to the rounding of its own terms, and stays there.
    solver = ThreeSplitting(Problem((1, 1, 1, 1)), dtype=dtype)
    result = solver.fit([[0.7]], [[0.3]], max_iter=200, callbacks=[Objective(), Certify()])
    assert result.history[-1]["objective"] < 1e-8
    assert result.certificate.descended
    assert "FAILED" not in str(result.certificate).splitlines()[0]


def test_no_iteration_says_so():
    X, Y = data()
    result = ThreeSplitting(Problem((4, 3))).fit(X, Y, max_iter=0, callbacks=[Certify()])
    assert str(result.certificate) == "no iteration was done, so there is nothing to certify"


def test_two_certificates_of_one_run_agree_and_a_users_ledger_stays():
    X, Y = data()
    solver = ThreeSplitting(Problem((4, 5, 3)))
    state = solver.init(X, Y)
    state.descent_log = descent_log = DescentLog()
    first, second = Certify(), Certify(every=3)
    result = run(solver, state, 6, [first, second])
    assert first.certificate.smallest_decrease == second.certificate.smallest_decrease
    assert result.state.descent_log is descent_log
    last = descent_log.decrease
    assert last == result.history[-1]["decrease"]
    solver.step(state)
    assert 0 < descent_log.decrease < last


def test_a_callback_that_cannot_start_leaves_no_other_behind():
    class Refusing(Callback):
        def on_start(self, solver, state, max_iter):
            raise InputError("no")

    X, Y = data()
    solver = ThreeSplitting(Problem((4, 5, 3)))
    state = solver.init(X, Y)
    with pytest.raises(InputError, match="no"):
        run(solver, state, 6, [Certify(), Refusing()])
    assert state.descent_log is None


def test_the_rate_is_the_slope_of_the_running_mean():
    certificate = Certificate("float64", promised=0.1, start=1.0)
    for t in range(1, 401):
        row = certificate.add(t, 1e-4, 1e-3, squared_subgradient=1.0 / t**2)
    assert certificate.rate == pytest.approx(-1.0, abs=0.01)
    slow = Certificate("float64", promised=0.1, start=1.0)
    for t in range(1, 401):
        slow.add(t, 1e-4, 1e-3, squared_subgradient=t**-0.5)
    assert slow.rate == pytest.approx(-0.5, abs=0.03)
    assert row["mean_squared_subgradient"] == pytest.approx(np.pi**2 / 6 / 400, rel=0.01)


def test_without_alpha_nothing_is_promised():
    X, Y = data()
    solver = ThreeSplitting(Problem((4, 5, 3)), alpha=0.0)
    result = solver.fit(X, Y, max_iter=3, callbacks=[Certify()])
    assert "promised only where alpha and alpha_weights are above 0" in str(result.certificate)
    assert result.certificate.decreased_sufficiently is None


def test_formulas_that_lack_a_slope_are_refused_before_any_work():
    bare = squared().functions
    loss = Loss("mine", row_value=bare["row_value"], row_prox=bare["row_prox"])
    ridge = Penalty("flat", ridge=0.0, value=bare["row_value"], prox=bare["row_value"])
    activation = Formula("step", value=bare["row_value"], prox=bare["row_prox"])
    X, Y = data()
    for options, message in (
        ({"loss": loss}, "loss: mine has no function 'row_subdifferential', which the subgradient"),
        ({"weight_penalty": ridge}, "weight_penalty: flat has no function 'subdifferential'"),
        ({"activation": activation}, "activation: step has no function 'derivative'"),
    ):
        solver = ThreeSplitting(Problem((4, 3), **options) if "activation" not in options
                                else Problem((4, 5, 3), **options))  # fmt: skip
        state = ThreeSplitting(Problem((4, 3))).init(X, Y)
        with pytest.raises(InputError, match=message):
            Certify().on_start(solver, state, 1)
    with pytest.raises(InputError, match="loss: mine has no function 'row_prox_penalised'"):
        ThreeSplitting(Problem((4, 3), loss=loss, state_penalty="l1:1"))
    with pytest.raises(InputError, match="step has no function 'derivative', which Algorithm 1"):
        TwoSplitting(Problem((4, 5, 3), activation))
