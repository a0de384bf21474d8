"""Settings of a caller change no result of ours, and are as before afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import environment
from plain_python import X, labels, runs

from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    MiniBatchThreeSplitting,
    Model,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
)
from fastbcd.data import load
from fastbcd.data.preprocessing import Preprocessing
from fastbcd.support.floating_point import own_errstate_in

HERE = Path(__file__).parent


def values_with(**variables):
    done = subprocess.run(
        [sys.executable, "-W", "error", HERE / "plain_python.py"],
        **{"env": environment() | variables, "capture_output": True, "text": True, "timeout": 300},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_with_compilation_switched_off_values_are_the_same():
    plain, compiled = values_with(NUMBA_DISABLE_JIT="1"), runs()
    assert plain.keys() == compiled.keys()
    for name in compiled:
        tolerance = 1e-12 if name == "float64" else 1e-5  # the others are in float32
        np.testing.assert_allclose(plain[name], compiled[name], tolerance, tolerance)


@pytest.mark.soak
def test_with_checks_of_bounds_values_are_the_same(tmp_path):
    checked = values_with(NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    for name, expected in runs().items():
        np.testing.assert_allclose(checked[name], expected, 1e-5, 1e-5)


def blob():
    """A column of zeros, a tiny one, and a huge one: much that underflows on the way."""
    rng = np.random.default_rng(1)
    A = rng.normal(size=(60, 5)) * [1.0, 0.0, 1e-30, 1e30, 1.0]
    return A, (A[:, 0] > 0).astype(int)


def classified():
    A, y = blob()
    estimator = BCDClassifier((8,), max_iter=2, random_state=0).fit(A, y)
    yield estimator.predict_proba(A)
    yield estimator.decision_function(A)
    yield estimator.fit(A, y, sample_weight=np.where(y, 1e-200, 1.0)).predict(A)
    stream = BCDClassifier((8,), solver="mini-batch", random_state=0)
    for _ in range(2):
        stream.partial_fit(A, y, classes=[0, 1])
    yield stream.predict_log_proba(A)


def of_a_sure_network():
    sure = BCDClassifier((16,), preprocess="none", random_state=0, max_iter=3).fit(X, labels)
    yield sure.predict_proba(X * 1000)
    yield sure.predict_log_proba(X * 1000)


def regressed():
    A, y = blob()
    for targets in (np.zeros(60), y * 1e-300, y * 1e30, np.stack([y, A[:, 4]], axis=1)):
        yield BCDRegressor((8,), max_iter=2, random_state=0).fit(A, targets).predict(A)


def solved():
    A, y = blob()
    prepared, Y = Preprocessing.fit(A)(A, np.float64), np.eye(2)[y]
    yield prepared
    for solver in (
        ThreeSplitting(Problem((5, 4, 2)), dtype="float64"),
        ThreeSplitting(Problem((5, 4, 2))),
        TwoSplitting(Problem((5, 4, 2))),
        MiniBatchThreeSplitting(Problem((5, 4, 2)), batch_size=8),
    ):
        state = solver.init(prepared * 1e-30, Y)
        solver.step(state)
        yield np.array(solver.objective(state))
        result = solver.fit(prepared, Y, max_iter=2)
        yield from result.state.weights
        yield Model(result.network, None, Preprocessing.fit(A)).outputs(A)


def of_a_file(folder):
    path = folder / "table.csv"
    rows = "\n".join(f"{i % 7}e-320,{i},{'ab'[i % 2]}" for i in range(40))
    path.write_text("one,two,label\n" + rows + "\n")
    dataset = load(str(path), target="label")
    yield dataset.X_train
    yield Preprocessing.fit(dataset.X_train)(dataset.X_test, np.float32)


CASES = {
    "classifier": lambda folder: classified(),
    "a sure network": lambda folder: of_a_sure_network(),
    "regressor": lambda folder: regressed(),
    "solvers": lambda folder: solved(),
    "a file": of_a_file,
}


@pytest.mark.parametrize("name", CASES)
def test_where_numpy_raises_results_are_the_same(name, tmp_path):
    expected = list(CASES[name](tmp_path))
    before = np.seterr(all="raise")
    try:
        found = list(CASES[name](tmp_path))
        assert set(np.geterr().values()) == {"raise"}
        with pytest.raises(FloatingPointError):
            np.float64(1e-300) * np.float64(1e-300)
    finally:
        np.seterr(**before)
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_kind_of_member_computes_under_numpys_defaults():
    @own_errstate_in
    class Thing:
        def method(self):
            return np.geterr()["under"]

        @classmethod
        def of_the_class(cls):
            return cls.__name__, np.geterr()["under"]

        @staticmethod
        def static():
            return np.geterr()["under"]

        @property
        def attribute(self):
            """The setting of underflow."""
            return np.geterr()["under"]

        def _own(self):
            return np.geterr()["under"]

    with np.errstate(under="raise"):
        thing = Thing()
        assert thing.method() == thing.static() == thing.attribute == "ignore"
        assert Thing.of_the_class() == ("Thing", "ignore")
        assert thing._own() == "raise"
    assert Thing.attribute.__doc__ == "The setting of underflow."


def test_print_options_and_the_global_generator_are_not_ours():
    def values():
        solver = ThreeSplitting(Problem((3, 4, 2)), dtype="float64")
        state = solver.fit(X, np.eye(2)[labels], max_iter=1).state
        return [*state.weights, *BCDClassifier(random_state=0, max_iter=1).fit(X, labels).classes_]

    np.random.seed(7)  # noqa: NPY002
    generator = np.random.get_state()[1].copy()  # noqa: NPY002
    expected = values()
    equal = kernels.polynomial(0, 1, 0.1)
    with np.printoptions(precision=1, legacy="1.13", suppress=True, threshold=3):
        options = np.get_printoptions()
        found = values()
        assert kernels.polynomial(0, 1, 0.1) == equal
        assert np.get_printoptions() == options
    np.testing.assert_array_equal(np.random.get_state()[1], generator)  # noqa: NPY002
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_torchs_default_type_changes_no_exported_model():
    torch = pytest.importorskip("torch")
    from fastbcd.export import torch_module

    model = BCDClassifier((4,), max_iter=2, random_state=0).fit(X, labels).model_
    expected = torch_module(model, probabilities=True)(torch.from_numpy(X.astype(np.float32)))
    before = torch.get_default_dtype()
    for dtype in (torch.float64, torch.float16):
        torch.set_default_dtype(dtype)
        try:
            module = torch_module(model, probabilities=True)
            found = module(torch.from_numpy(X.astype(np.float32)))
            assert torch.get_default_dtype() == dtype
        finally:
            torch.set_default_dtype(before)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_kernels_are_refused_on_a_gpu_where_nothing_is_compiled():
    script = (
        "from fastbcd import Problem, ThreeSplitting, InputError\n"
        "try: ThreeSplitting(Problem((2, 2, 2)), device='cuda')\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        **{"env": os.environ | {"NUMBA_DISABLE_JIT": "1"}, "capture_output": True, "text": True},
    )
    assert done.returncode == 0, done.stderr
    assert "NUMBA_DISABLE_JIT" in done.stdout
