"""Early stopping: when it stops, which weights remain, and how it goes on after a checkpoint."""

import numpy as np
import pytest

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import (
    Accuracy,
    BatchLoss,
    Callback,
    EarlyStopping,
    Objective,
    SaveCheckpoint,
)
from fastbcd.training.loop import run


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
    for W, state, best, last in zip(
        *(result.network.W, result.state.weights, scripted.weights[1], scripted.weights[4]),
        strict=True,
    ):
        np.testing.assert_array_equal(W, best)
        np.testing.assert_array_equal(state, last)  # a run may go on from it
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


@pytest.mark.parametrize("weighted", [False, True])
def test_a_resumed_run_is_the_one_that_was_not_interrupted(weighted, tmp_path):
    X, Y = data()
    weight = np.random.default_rng(1).random(60) if weighted else None
    values = [0.1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]

    def callbacks(*more):
        scripted, stopping = Scripted(values), EarlyStopping("score", n_iter_no_change=4)
        return [BatchLoss(), Objective(), scripted, stopping, *more]

    def solver():
        return MiniBatchThreeSplitting(Problem((5, 6, 3)), 20, schedule="constant")

    whole = solver().fit(X, Y, max_iter=7, callbacks=callbacks(), sample_weight=weight)
    file = tmp_path / "checkpoint.safetensors"

    class Break(Callback):
        def on_iteration(self, solver, state, record):
            return record["iteration"] == 3

    first = callbacks(Break(), SaveCheckpoint(file))
    solver().fit(X, Y, max_iter=7, callbacks=first, sample_weight=weight)
    again = callbacks()
    result = resume(file, solver(), X, Y, again)
    assert isinstance(result.stopped_by, EarlyStopping)
    assert isinstance(whole.stopped_by, EarlyStopping)
    assert (len(result.history), again[3].best_iteration) == (6, 2)
    for name in ("batch_loss", "objective", "score"):
        assert [row[name] for row in result.history] == [row[name] for row in whole.history]
    for pair in (
        zip(result.network.W, whole.network.W, strict=True),
        zip(result.state.weights, whole.state.weights, strict=True),
    ):
        for a, b in pair:
            np.testing.assert_array_equal(a, b)


def test_another_run_begins_anew():
    scripted, stopping = Scripted([0.9, 0.1, 0.2]), EarlyStopping("score")
    solver = SOLVERS["mini-batch"]()
    solver.fit(*data(), max_iter=3, callbacks=[scripted, stopping])
    scripted.values = [0.1, 0.2]
    solver.fit(*data(), max_iter=2, callbacks=[scripted, stopping])
    assert (stopping.best, stopping.best_iteration) == (0.2, 2)


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
