"""Bad arguments of the Python interface: one sentence that names the culprit."""

import numpy as np
import pytest

from fastbcd import DescentWarning, InputError, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Accuracy, Callback, Objective

PROBLEMS = [
    ({"widths": (3,)}, "widths needs inputs and outputs"),
    ({"widths": (3, 0, 2)}, "widths must be an integer of at least 1, got 0"),
    ({"widths": (3, 2.5)}, "widths must be an integer"),
    ({"activation": "rleu"}, "activation: unknown name 'rleu'; known: relu, leaky_relu, linear"),
    ({"activation": "leaky_relu:1.5"}, r"activation: leaky_relu: slope must be in \[0, 1\)"),
    ({"activation": "relu:1"}, "activation: 'relu' does not take 1 parameters"),
    ({"activation": "leaky_relu:x"}, "'x' in 'leaky_relu:x' must be numbers"),
    ({"loss": "hinge"}, "loss: unknown name 'hinge'"),
    ({"gamma": 0}, "gamma must be a finite number above 0, got 0"),
    ({"gamma": -1}, "gamma must be a finite number above 0"),
    ({"gamma": float("nan")}, "gamma must be a finite number"),
    ({"gamma": "big"}, "gamma must be a number, got 'big'"),
    ({"rho": 0.0}, "rho must be a finite number above 0"),
    ({"weight_penalty": "ridge:-1"}, "weight_penalty: ridge: strength must be at least 0"),
    ({"residual": True}, "residual: no hidden layer is as wide as the layer below it"),
    ({"residual": [False, True]}, "residual: layer 2 has width 2, but the layer below it has 4"),
    ({"residual": [False]}, "residual must have one flag for each of 2 layers, got 1"),
    ({"reduction": "max"}, "reduction must be one of mean, sum"),
]

SOLVERS = [
    ({"alpha": -1e-9}, "alpha must be a finite number at least 0"),
    ({"alpha_weights": -1}, "alpha_weights must be a finite number at least 0"),
    ({"dtype": "float16"}, "dtype must be one of float32, float64"),
    ({"dtype": "flaot32"}, "dtype must be one of float32, float64"),
    ({"device": "cuda"}, "device must be one of cpu, got 'cuda'"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
    ({"tile_rows": -5}, "tile_rows must be an integer of at least 1"),
]

X, Y = np.ones((5, 3)), np.ones((5, 2))
BAD = X.copy()
BAD[2, 1] = np.inf

ARRAYS = [
    (X[:, :2], Y, "X has 2 features, but the network's first width is 3"),
    (X, Y[:, :1], "Y has 1 outputs, but the network's last width is 2"),
    (X[:4], Y, "Y has 5 samples, but X has 4"),
    (X[:0], Y[:0], "at least one sample"),
    (X[0], Y, "X must be 2-d"),
    (X, Y[:, 0], "Y must be 2-d, samples by outputs: one-hot rows"),
    (BAD, Y, "X must be finite, but row 2, column 1 is inf"),
    (X, Y * np.nan, "Y must be finite, but row 0, column 0 is nan"),
    ([["a", "b", "c"]] * 5, Y, "X must hold numbers only"),
]


@pytest.mark.parametrize(("options", "message"), PROBLEMS)
def test_problem_names_the_bad_argument(options, message):
    with pytest.raises(InputError, match=message):
        Problem(**({"widths": (3, 4, 2)} | options))


@pytest.mark.parametrize(("options", "message"), SOLVERS)
def test_solver_names_the_bad_argument(options, message):
    with pytest.raises(InputError, match=message):
        ThreeSplitting(Problem((3, 4, 2)), **options)


@pytest.mark.parametrize(("X", "Y", "message"), ARRAYS)
def test_init_names_the_bad_array(X, Y, message):
    with pytest.raises(InputError, match=message):
        ThreeSplitting(Problem((3, 4, 2))).init(X, Y)


def test_fit_names_bad_options():
    solver = ThreeSplitting(Problem((3, 4, 2)))
    with pytest.raises(InputError, match="init: unknown name 'xavier'"):
        solver.fit(X, Y, init="xavier")
    with pytest.raises(InputError, match="max_iter must be an integer"):
        solver.fit(X, Y, max_iter=1.5)


@pytest.mark.parametrize("labels", [[0, 1, -1], [0, 5], [0.5, 1.0], [[0], [1]], []])
def test_one_hot_names_bad_labels(labels):
    with pytest.raises(InputError, match="labels must"):
        one_hot(np.array(labels), 3)


def test_he_keeps_the_scale_of_states_also_through_twenty_residual_layers():
    rng = np.random.default_rng(0)
    inputs = np.abs(rng.standard_normal((200, 64)))
    for residual in (False, True):
        solver = ThreeSplitting(Problem((64,) * 21 + (10,), residual=residual))
        state = solver.init(inputs, np.zeros((200, 10)), init="he")
        growth = np.square(state.V[20]).mean() / np.square(state.V[1]).mean()
        assert 0.1 < growth < 10


def test_one_hot_marks_each_label():
    np.testing.assert_array_equal(one_hot([2, 0]), [[0, 0, 1], [1, 0, 0]])


def test_fit_collects_what_callbacks_measure_and_stops_when_one_says_so():
    class StopAfter(Callback):
        def on_iteration(self, solver, state, record):
            return record["iteration"] == 3

    rng = np.random.default_rng(0)
    inputs, labels = rng.standard_normal((20, 3)), rng.integers(2, size=20)
    solver = ThreeSplitting(Problem((3, 4, 2)))
    stop = StopAfter()
    callbacks = [Objective(every=2), Accuracy("test", inputs, labels), stop]
    result = solver.fit(inputs, one_hot(labels, 2), max_iter=9, callbacks=callbacks)
    assert [record["iteration"] for record in result.history] == [1, 2, 3]
    assert [record.get("objective") is not None for record in result.history] == [
        False,
        True,
        False,
    ]
    assert result.stopped_by is stop
    assert np.all(np.diff([record["seconds"] for record in result.history]) > 0)
    outputs = result.network.forward(inputs)
    measured = result.history[-1]["test_accuracy"]
    assert measured == np.mean(outputs.argmax(axis=1) == labels)


def test_a_rise_of_the_objective_is_reported_not_hidden():
    class Rising(Callback):
        def on_iteration(self, solver, state, record):
            record["objective"] = float(record["iteration"])

    solver = ThreeSplitting(Problem((3, 4, 2)))
    with pytest.warns(DescentWarning, match="objective rose from 1 to 2 in iteration 2"):
        solver.fit(X, Y, max_iter=2, callbacks=[Rising()])


def test_an_objective_that_is_not_finite_ends_the_run():
    class Overflow(Callback):
        def on_iteration(self, solver, state, record):
            record["objective"] = np.inf

    with pytest.raises(FloatingPointError, match="objective is inf after iteration 1"):
        ThreeSplitting(Problem((3, 4, 2))).fit(X, Y, max_iter=2, callbacks=[Overflow()])
