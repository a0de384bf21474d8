"""Early stopping: when it stops, which weights are left, and how it goes on after a checkpoint."""

import json

import numpy as np
import pytest

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Accuracy, BatchLoss, Callback, EarlyStopping, Objective
from fastbcd.fit import run


class Scripted(Callback):
    """Measures what it is told, and keeps the weights of each iteration."""

    def __init__(self, values):
        self.values, self.weights = values, []

    def on_iteration(self, solver, state, record):
        value = self.values[record["iteration"] - 1]
        if value is not None:
            record["score"] = value
        self.weights.append([W.copy() for W in state.weights])


def data(n=60):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 5)), one_hot(rng.integers(3, size=n), 3)


SOLVERS = {
    "mini-batch": lambda: MiniBatchThreeSplitting(Problem((5, 6, 3)), 20),
    "three-splitting": lambda: ThreeSplitting(Problem((5, 6, 3))),
}


def fit(values, solver="mini-batch", max_iter=None, **options):
    scripted = Scripted(values)
    stopping = EarlyStopping("score", **options)
    result = SOLVERS[solver]().fit(
        *data(), max_iter=max_iter or len(values), callbacks=[scripted, stopping]
    )
    return result, scripted, stopping


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_stops_after_so_many_without_gain_and_restores_the_best_weights(solver):
    values = [0.1, 0.5, 0.4, 0.45, 0.3, 0.9]
    result, scripted, stopping = fit(values, solver, n_iter_no_change=3)
    assert result.stopped_by is stopping
    assert len(result.history) == 5
    assert (stopping.best, stopping.best_iteration) == (0.5, 2)
    for W, state, best in zip(
        result.network.W, result.state.weights, scripted.weights[1], strict=True
    ):
        np.testing.assert_array_equal(W, best)
        np.testing.assert_array_equal(state, best)
    assert (scripted.weights[1][0] != scripted.weights[4][0]).any()


def test_the_best_weights_are_kept_where_nothing_stops_the_run():
    result, scripted, _stopping = fit([0.1, 0.5, 0.4])
    assert result.stopped_by is None
    np.testing.assert_array_equal(result.network.W[0], scripted.weights[1][0])


def test_gains_below_tol_do_not_count_but_their_weights_do():
    result, scripted, _ = fit([0.5, 0.505, 0.509, 0.9], tol=0.01, n_iter_no_change=2)
    assert len(result.history) == 3
    np.testing.assert_array_equal(result.network.W[0], scripted.weights[2][0])


def test_what_should_fall_and_iterations_without_a_measurement():
    values = [3.0, None, 1.0, None, 2.0, None, 2.0, 0.0]
    result, _scripted, stopping = fit(values, mode="min", n_iter_no_change=2)
    assert len(result.history) == 7
    assert (stopping.best, stopping.best_iteration) == (1.0, 3)


def test_a_run_begins_anew_and_a_checkpointed_one_goes_on():
    values = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4]
    _, _, stopping = fit(values[:4], n_iter_no_change=4)
    saved = stopping.state_dict()
    numbers = {name: value for name, value in saved.items() if not isinstance(value, np.ndarray)}
    saved |= json.loads(json.dumps(numbers))

    def goes_on(restore):
        solver = SOLVERS["mini-batch"]()
        state = solver.init(*data(), passes=8)
        state.iteration = 4
        again = EarlyStopping("score", n_iter_no_change=4)
        if restore:
            again.load_state_dict(saved)
        result = run(solver, state, 6, [Scripted(values), again])
        return again, result

    again, result = goes_on(restore=True)
    assert (len(result.history), again.best_iteration) == (2, 2)
    assert result.stopped_by is again
    np.testing.assert_array_equal(result.network.W[0], saved["W1"])
    again, result = goes_on(restore=False)
    assert again.best_iteration == 5
    assert result.stopped_by is None


def test_with_what_other_callbacks_measure():
    X, Y = data()
    callbacks = [Accuracy("validation", X, Y.argmax(axis=1)), EarlyStopping(n_iter_no_change=5)]
    result = SOLVERS["mini-batch"]().fit(X, Y, max_iter=300, callbacks=callbacks)
    accuracy = [record["validation_accuracy"] for record in result.history]
    assert len(accuracy) < 300
    own = np.mean(result.network.forward(X).argmax(axis=1) == Y.argmax(axis=1))
    assert own == max(accuracy)


def test_what_is_not_measured_and_wrong_parameters_are_errors():
    with pytest.raises(InputError, match=r"measured 'validation_accuracy'; this run has iteration"):
        SOLVERS["mini-batch"]().fit(*data(), max_iter=2, callbacks=[EarlyStopping()])
    for options, message in [
        ({"mode": "up"}, "mode must be one of max, min"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"tol": -1}, "tol"),
    ]:
        with pytest.raises(InputError, match=message):
            EarlyStopping(**options)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_batch_loss_is_the_loss_before_the_step(weighted):
    X, Y = data()
    weight = np.random.default_rng(1).random(60) if weighted else None
    solver = MiniBatchThreeSplitting(Problem((5, 6, 3)), 60, average=0, dtype="float64")
    state = solver.init(X, Y, passes=3, sample_weight=weight)
    before = solver.objective(state)
    history = run(solver, state, 2, [BatchLoss(), Objective()]).history
    assert history[0]["batch_loss"] == pytest.approx(before, rel=1e-9)
    assert history[1]["batch_loss"] == pytest.approx(history[0]["objective"], rel=1e-9)
    assert state.batch_loss is None


def test_the_batch_loss_of_a_full_batch_is_an_error():
    with pytest.raises(InputError, match="ThreeSplitting has no mini-batches; use Objective"):
        SOLVERS["three-splitting"]().fit(*data(), max_iter=1, callbacks=[BatchLoss()])
