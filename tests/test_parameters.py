"""A parameter may be a Python number, a NumPy scalar or an array without axes, to the same effect.

Anything else gives one sentence that names the parameter.
"""

import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    Execution,
    InputError,
    MiniBatchThreeSplitting,
    Model,
    Network,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
)
from fastbcd.callbacks import EarlyStopping, Objective, SaveCheckpoint
from fastbcd.checkpoints.checkpoint import describe, resume
from fastbcd.kernels import box, elastic_net, l1, leaky_relu, linear, polynomial, ridge
from fastbcd.support.parameters import choice, flag, plain, require, require_integer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 4))
LABELS = (X[:, 0] > 0).astype(int)
Y = one_hot(LABELS, 2)
WIDTHS = (4, 6, 6, 2)
FULL = {"solver": "three-splitting"}

# A value that each parameter may have, and what else must be given with it.
ESTIMATOR = {
    "hidden_layer_sizes": (6, {}),
    "activation": ("linear", {}),
    "loss": ("squared", {}),
    "solver": ("mini-batch", {}),
    "residual": (True, {}),
    "gamma": (2.0, {}),
    "rho": (4.0, {}),
    "proximal_weight": (0.5, FULL),
    "weight_penalty": ("ridge:0.5", {}),
    "state_penalty": ("ridge:0.5", FULL),
    "acceleration": ("nesterov", FULL),
    "batch_size": (8, {}),
    "step_size": (0.25, {}),
    "step_unit": ("output", {}),
    "schedule": ("linear", {}),
    "momentum": (0.5, {}),
    "damping": (2.0, {}),
    "rank": (2, {}),
    "output_rank": (2, {}),
    "weight_decay": (0.25, {}),
    "average": (0.5, {}),
    "dropout": (0.5, {}),
    "input_noise": (0.5, {}),
    "nesterov": (True, {}),
    "max_iter": (3, {}),
    "preprocess": ("standard", {}),
    "early_stopping": (True, {}),
    "validation_fraction": (0.25, {"early_stopping": True}),
    "n_iter_no_change": (1, {"early_stopping": True}),
    "tol": (0.5, {"early_stopping": True}),
    "class_weight": ("balanced", {}),
    "warm_start": (True, {}),
    "random_state": (3, {}),
    "dtype": ("float64", {}),
    "device": ("cpu", {}),
    "n_threads": (1, {}),
    "verbose": (True, {}),
}
PROBLEM = {
    "activation": ("linear", {}),
    "loss": ("cross_entropy", {}),
    "gamma": (2.0, {}),
    "rho": (4.0, {}),
    "weight_penalty": ("l1:0.5", {}),
    "state_penalty": ("ridge:0.5", {}),
    "residual": (True, {}),
    "reduction": ("sum", {}),
}
SOLVER = {
    "alpha": (0.5, {}),
    "alpha_weights": (0.25, {}),
    "loss_update": ("prox-linear", {"alpha": 1.0}),
    "acceleration": ("nesterov", {}),
    "device": ("cpu", {}),
    "dtype": ("float64", {}),
    "n_threads": (1, {}),
    "tile_rows": (16, {}),
    "memory": (4 * 10**9, {}),
    "precision": ("float32", {}),
}
MINI_BATCH = {
    **{name: ESTIMATOR[name] for name in ("batch_size", "step_size", "schedule", "momentum")},
    **{name: ESTIMATOR[name] for name in ("damping", "rank", "rho", "weight_decay", "average")},
    **{name: ESTIMATOR[name] for name in ("output_rank", "step_unit", "dropout", "input_noise")},
    "nesterov": ESTIMATOR["nesterov"],
    "displacement": (0.0625, {}),
    **{name: SOLVER[name] for name in ("device", "dtype", "n_threads", "tile_rows", "precision")},
    "memory": (4 * 10**9, {}),
}
INIT = {"seed": (3, {}), "init": ("normal:0.5", {}), "bias": (0.5, {})}


def forms(value):
    """As NumPy has it: a scalar, where there is one of half the size, and an array without axes."""
    yield np.asarray(value)[()]
    yield np.asarray(value)
    if isinstance(value, int) and not isinstance(value, bool) and value < 100:
        yield np.uint8(value)
    if isinstance(value, float):
        yield np.float16(value)
    if isinstance(value, str):
        yield np.array(value, object)


def wrong(value):
    """Values of another kind."""
    if isinstance(value, bool):
        return ["no", 2.5, -1, np.array([True, False])]
    if isinstance(value, str):
        return [3, True, b"tanh", np.array(["tanh", "relu", "linear", "x"])]
    if isinstance(value, int):
        return [2.0, np.float64(2.0), True, np.bool_(True), np.array([2, 2]), 1j, np.array(2.0)]
    return [True, np.bool_(True), "0.5", np.str_("0.5"), np.array([0.5]), 1j, np.nan]


def estimator_weights(kind, **given):
    with_max = {"max_iter": 2, "hidden_layer_sizes": (6, 6), "random_state": 0} | given
    y = LABELS if kind is BCDClassifier else X[:, 0]
    estimator = clone(kind(**with_max))
    estimator.fit(X, y).fit(X, y)
    again = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    return estimator.network_.W


def cases():
    for kind in (BCDClassifier, BCDRegressor):
        names = ESTIMATOR if kind is BCDClassifier else set(ESTIMATOR) - {"class_weight"}
        for name in sorted(names):
            yield pytest.param(kind, name, id=f"{kind.__name__}-{name}")


@pytest.mark.parametrize(("kind", "name"), [*cases()])
def test_each_parameter_of_an_estimator(kind, name):
    value, more = ESTIMATOR[name]
    if name == "loss" and kind is BCDClassifier:
        value = "logistic_ovr"
    expected = estimator_weights(kind, **more | {name: value})
    for form in forms(value):
        found = estimator_weights(kind, **more | {name: form})
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=repr(form))
    allowed = {"verbose", "random_state", "class_weight", "hidden_layer_sizes", "dtype"}
    for form in [] if name in allowed else wrong(value):
        with pytest.raises(InputError, match=name):
            estimator_weights(kind, **more | {name: form})


def test_the_tables_have_every_parameter():
    # Images do not go with the widths of this file: tests/test_estimator_images.py and
    # tests/test_augmentation.py.
    names = {*ESTIMATOR, "layers", "image_shape", "augment"}
    assert names == set(BCDClassifier().get_params())
    assert set(BCDRegressor().get_params()) == names - {"class_weight"}
    left_out = {"problem", "comm", "folder", "self", "widths", "inner_steps", "layers", "augment"}
    for kind, table in [
        (Problem, PROBLEM),
        (ThreeSplitting, SOLVER),
        (TwoSplitting, SOLVER),
        (MiniBatchThreeSplitting, MINI_BATCH),
    ]:
        names = set(inspect.signature(kind).parameters)
        if "where" in names:
            names |= set(inspect.signature(Execution).parameters)
            names -= {"where", "execution"}
        assert names - left_out == set(table)


def solver_weights(kind, problem, options, init):
    solver = kind(Problem(WIDTHS, **problem), **options)
    more = {"passes": 1} if kind is MiniBatchThreeSplitting else {}
    state = solver.step(solver.init(X, Y, **init, **more))
    json.dumps(describe(solver, state))
    return state.weights


def solver_cases():
    for name in PROBLEM:
        yield pytest.param(ThreeSplitting, "problem", PROBLEM[name], name, id=f"problem-{name}")
    for kind, table in [
        (ThreeSplitting, SOLVER),
        (TwoSplitting, {"inner_steps": (2, {}), "alpha": (0.5, {})}),
        (MiniBatchThreeSplitting, MINI_BATCH),
    ]:
        for name in table:
            yield pytest.param(kind, "options", table[name], name, id=f"{kind.__name__}-{name}")
    for name in INIT:
        yield pytest.param(ThreeSplitting, "init", INIT[name], name, id=f"init-{name}")


@pytest.mark.parametrize(("kind", "place", "entry", "name"), [*solver_cases()])
def test_each_parameter_of_problem_and_solvers(kind, place, entry, name, monkeypatch):
    from fastbcd.devices.storage import arrays as storage

    monkeypatch.setattr(storage, "file_system", lambda path: "ext4")
    value, more = entry

    def weights(form):
        given = {"problem": {}, "options": {}, "init": {}}
        given[place] = more | {name: form}
        return solver_weights(kind, **given)

    expected = weights(value)
    for form in forms(value):
        for one, other in zip(expected, weights(form), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=repr(form))
    for form in wrong(value) if name not in {"memory", "dtype"} else [True, np.array([1, 2])]:
        with pytest.raises(InputError, match=name):
            weights(form)


def test_sizes_and_flags_of_layers_come_in_arrays_too():
    for widths in (np.array(WIDTHS), np.array(WIDTHS, np.int16), [np.int64(d) for d in WIDTHS]):
        problem = Problem(widths, residual=np.array([False, True, False]))
        assert problem == Problem(WIDTHS, residual=True)
        assert all(type(d) is int for d in problem.widths)
        assert all(type(skips) is bool for skips in problem.residual)
    penalties = Problem(WIDTHS, weight_penalty=np.array(["none", "l1:1", "ridge:2"]))
    assert penalties == Problem(WIDTHS, weight_penalty="none/l1:1/ridge:2")
    for bad in ([4.0, 2.0], np.array([4.0, 2.0]), np.array(4), [[4, 2]], "42", [True, True]):
        with pytest.raises(InputError, match="widths"):
            Problem(bad)
    for bad in ("yes", [True, 3, False], [None, True, None]):
        with pytest.raises(InputError, match="residual"):
            Problem(WIDTHS, residual=bad)
    sizes = [BCDClassifier(h, max_iter=1, random_state=0) for h in (np.array([6, 6]), [6, 6])]
    first, second = (estimator.fit(X, LABELS).network_.W[1] for estimator in sizes)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (leaky_relu, (0.25,)),
        (ridge, (0.5,)),
        (l1, (0.5,)),
        (elastic_net, (0.5, 0.25)),
        (box, (-0.5, 0.5)),
        (polynomial, (0.0, 1.0, 0.5)),
    ],
)
def test_formulas_hold_pythons_own_numbers(make, arguments):
    plainly = make(*arguments)
    for convert in (np.float32, np.float16, np.array):
        formula = make(*map(convert, arguments))
        assert formula == plainly
        assert repr(formula) == repr(plainly)
        assert all(type(number) is float for number in formula.arguments)
        assert type(getattr(formula, "ridge", None)) in (float, type(None))
    for bad in (True, np.bool_(True), "0.5", np.array([0.5]), None):
        with pytest.raises(ValueError, match=f"{formula.name}: its parameters must be numbers"):
            make(bad, *arguments[1:])


def test_files_hold_pythons_own_values(tmp_path):
    estimator = BCDClassifier(
        (np.int64(6),), np.str_("relu"), loss=np.array("squared"), max_iter=np.int8(2)
    )
    model = estimator.fit(X, LABELS).model_
    for path in (tmp_path / "m.safetensors", str(tmp_path / "n.safetensors")):
        model.save(path)
        read = Model.load(path)
        assert read.loss == "squared"
        np.testing.assert_array_equal(read.predict(X), estimator.predict(X))
    made = np.random.default_rng(0)
    problem = Problem(
        np.array(WIDTHS), np.str_("relu"), gamma=np.float32(0.5), residual=np.bool_(True)
    )
    path = Path(tmp_path / "c.safetensors")
    solver = ThreeSplitting(problem, alpha=np.float32(0.25), n_threads=np.int64(1))
    save = SaveCheckpoint(path, every=np.int64(1))
    watch = EarlyStopping(np.str_("objective"), np.int64(5), np.float32(0.0), np.str_("min"))
    whole = solver.fit(
        X,
        Y,
        max_iter=np.int64(3),
        seed=np.array(made.integers(9)),
        callbacks=[Objective(np.array(1)), watch, save],
    )
    plainly = ThreeSplitting(Problem(WIDTHS, "relu", gamma=0.5, residual=True), alpha=0.25)
    again = resume(
        np.str_(path), plainly, X, Y, [Objective(), EarlyStopping("objective", mode="min")]
    )
    for one, other in zip(whole.state.W[1:], again.state.W[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_owner_says_what_would_be_right():
    assert plain(np.array("a")) == "a"
    assert plain([1]) == [1]
    assert flag(np.array(False), "f") is False
    assert flag(1, "f") is True
    assert flag(np.int64(7), "f", levels=True) is True
    assert choice(np.str_("b"), ("a", "b"), "c") == "b"
    assert type(require(np.float32(0.5), "r")) is float
    assert type(require_integer(np.uint64(5), "i", at_least=1)) is int
    for call, sentence in [
        (lambda: flag("False", "f"), "f must be True or False, got 'False'"),
        (lambda: flag(None, "f"), "f must be True or False, got None"),
        (lambda: choice(["a"], ("a", "b"), "c"), r"c must be one of a, b, got \['a'\]"),
        (lambda: require(True, "r"), "r must be a number, got True"),
        (lambda: require(np.array([1.0]), "r"), "r must be a number, got array"),
        (lambda: require(np.inf, "r"), "r must be a number from -1e"),
        (
            lambda: require_integer(2.0, "i", at_least=1),
            "i must be an integer of at least 1, got 2",
        ),
        (lambda: one_hot([0, 1], 2.0), "n_classes must be an integer of at least 1, got 2.0"),
    ]:
        with pytest.raises(InputError, match=f"^{sentence}"):
            call()


UNUSED = {
    "max_iter": 0,
    "tol": "x",
    "n_iter_no_change": 2.0,
    "validation_fraction": 1.5,
    "warm_start": "x",
    "class_weight": {0: 1.0, 1: "a"},
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", UNUSED)
def test_a_parameter_that_a_call_does_not_use_is_checked_all_the_same(name, method):
    estimator = BCDClassifier((4,), **{name: UNUSED[name]})
    options = {"classes": [0, 1]} if method == "partial_fit" else {}
    with pytest.raises(InputError, match=name):
        getattr(estimator, method)(X, LABELS, **options)


def test_dates_are_no_numbers():
    with pytest.raises(InputError, match="numbers only, got datetime64"):
        BCDClassifier((4,)).fit(X.astype("datetime64[s]"), LABELS)


@pytest.mark.parametrize("callbacks", [None, 3, Objective()])
def test_callbacks_are_a_list(callbacks):
    with pytest.raises(InputError, match="callbacks must be a list"):
        ThreeSplitting(Problem((4, 3, 2))).fit(X, Y, max_iter=1, callbacks=callbacks)


def test_a_network_takes_its_weights_as_lists():
    W = [RNG.normal(size=(3, 5)), RNG.normal(size=(2, 4))]
    arrays = Network(W, [linear(), linear()], [False, False])
    lists = Network([w.tolist() for w in W], [linear(), linear()], [False, False])
    np.testing.assert_array_equal(lists.forward(X), arrays.forward(X))
