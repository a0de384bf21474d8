"""Bad arguments of the Python interface: one sentence that names the culprit."""

import time

import numpy as np
import pytest

from fastbcd import DescentWarning, InputError, Network, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Accuracy, Callback, Objective
from fastbcd.kernels import linear, relu
from fastbcd.layers import Dense, MaxPool2d

PROBLEMS = [
    ({"widths": (3,)}, "widths needs inputs and outputs"),
    ({"widths": (3, 0, 2)}, "widths must be an integer of at least 1, got 0"),
    ({"widths": (3, 2.5)}, "widths must be an integer"),
    ({"activation": "rleu"}, "activation: unknown name 'rleu'; known: relu, leaky_relu, linear"),
    ({"activation": "leaky_relu:1.5"}, r"activation: leaky_relu: slope must be in \[0, 1\)"),
    ({"activation": "relu:1"}, "activation: 'relu' does not take 1 parameters"),
    ({"activation": "leaky_relu:x"}, "'x' in 'leaky_relu:x' must be numbers"),
    ({"loss": "mse"}, "loss: unknown name 'mse'"),
    ({"activation": "polynomial"}, "activation: polynomial: give 2 to 10 coefficients"),
    ({"activation": "leaky_relu:"}, "must be numbers separated by commas"),
    ({"activation": 3}, "activation must be a name or a Formula, got 3"),
    ({"activation": ["relu"] * 2}, "activation must be one name or one for each of 1 hidden layer"),
    ({"activation": ["rleu"]}, "activation: unknown name 'rleu'"),
    (
        {"activation": ["relu"], "layers": [MaxPool2d((2, 2, 1)), Dense(1, 2)], "widths": None},
        "activation: layer 1 is a max_pool2d, which is linear, got 'relu'",
    ),
    ({"loss": None}, "loss must be a name or a Loss, got None"),
    ({"widths": 5}, "widths must be a sequence of integers, got 5"),
    ({"widths": (3, 10**11)}, "widths must be an integer of at most 2147483647"),
    ({"gamma": 0}, "gamma must be a number from 1e-15 to"),
    ({"gamma": -1}, "gamma must be a number from 1e-15 to"),
    ({"gamma": float("nan")}, "gamma must be a number from"),
    ({"gamma": "big"}, "gamma must be a number, got 'big'"),
    ({"rho": 0.0}, "rho must be a number from 1e-15 to"),
    ({"weight_penalty": "ridge:-1"}, "weight_penalty: ridge: strength must lie between 0"),
    ({"weight_penalty": 3}, "weight_penalty must be a name or a Penalty, got 3"),
    ({"weight_penalty": ["none", 3]}, "weight_penalty must be a name or a Penalty, got 3"),
    ({"weight_penalty": "none/none/none"}, "one penalty or one for each of 2 layers, got 3"),
    ({"state_penalty": "box:1,-1"}, "state_penalty: box: needs two numbers, the lower one first"),
    ({"weight_penalty": "l1:1//none"}, "weight_penalty: a penalty is empty in 'l1:1//none'"),
    ({"state_penalty": "box:1"}, "state_penalty: 'box' does not take 1 parameters"),
    ({"state_penalty": []}, "state_penalty must be one penalty or one for each of 2 layers"),
    ({"state_penalty": "l1:-1/none"}, "state_penalty: l1: strength must lie between 0"),
    ({"residual": True}, "residual: no hidden layer is as wide as the layer below it"),
    ({"residual": [False]}, "residual must have one flag for each of 2 layers, got 1"),
    ({"reduction": "max"}, "reduction must be one of mean, sum"),
]

SOLVERS = [
    ({"alpha": -1e-9}, "alpha must be a number from 0 to"),
    ({"alpha_weights": -1}, "alpha_weights must be a number from 0 to"),
    ({"dtype": "float16"}, "dtype must be one of float32, float64"),
    ({"dtype": "flaot32"}, "dtype must be one of float32, float64"),
    ({"device": "gpu"}, "device must be one of cpu, cuda, got 'gpu'"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
    ({"tile_rows": -5}, "tile_rows must be an integer of at least 1"),
    ({"tile_rows": 0}, "tile_rows must be an integer of at least 1"),
    ({"alpha": 1e300}, "alpha must be a number from 0 to 1e"),
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
    with pytest.raises(InputError, match="seed must be an integer of at least 0, got -1"):
        solver.fit(X, Y, seed=-1)
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


def test_seconds_do_not_count_what_callbacks_do():
    class Slow(Callback):
        def on_iteration(self, solver, state, record):
            time.sleep(0.2)

    solver = ThreeSplitting(Problem((3, 4, 2)))
    solver.fit(X, Y, max_iter=1)  # compiled
    assert solver.fit(X, Y, max_iter=3, callbacks=[Slow()]).history[-1]["seconds"] < 0.2


def test_callbacks_are_closed_when_a_run_breaks_off():
    class Breaks(Callback):
        closed = False

        def on_iteration(self, solver, state, record):
            raise KeyboardInterrupt

        def on_end(self, result):
            self.closed = True

    callback = Breaks()
    with pytest.raises(KeyboardInterrupt):
        ThreeSplitting(Problem((3, 4, 2))).fit(X, Y, max_iter=3, callbacks=[callback])
    assert callback.closed


def test_a_network_puts_weights_in_one_type_and_order_and_refuses_other_shapes():
    rng = np.random.default_rng(0)
    W1, W2 = rng.standard_normal((4, 4)), rng.standard_normal((2, 5)).astype(np.float32)
    inputs = rng.standard_normal((6, 3))
    expected = np.maximum(inputs @ W1[:, :3].T + W1[:, 3], 0) @ W2[:, :4].T + W2[:, 4]
    network = Network([np.asfortranarray(W1), W2], [relu(), linear()], [False, False])
    np.testing.assert_allclose(network.forward(inputs), expected, rtol=1e-12)
    with pytest.raises(InputError, match="W_2 has 4 columns; needed: the 4 outputs of layer 1"):
        Network([W1, W2[:, :4]], [relu(), linear()], [False, False])


def test_weights_in_fortran_order_are_refused_not_misread():
    solver = ThreeSplitting(Problem((3, 4, 2)))
    state = solver.init(X, Y)
    state.W[1] = np.asfortranarray(state.W[1])
    with pytest.raises(InputError, match="weights must be C-contiguous"):
        solver.step(state)


def test_other_inputs_get_another_gram_matrix():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 5, 3))
    solver = ThreeSplitting(Problem((3, 4, 2)), dtype="float64")
    state, fresh = solver.step(solver.init(first, Y)), solver.step(solver.init(first, Y))
    fresh.cache.clear()
    for run in (state, fresh):
        run.V[0] = second
        solver.step(run)
    np.testing.assert_array_equal(state.W[1], fresh.W[1])


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
