"""Arrays of a caller are never written to, and a run does the same with any kind of array."""

import itertools
import pickle

import joblib
import numpy as np
import pytest
from sklearn.multioutput import MultiOutputClassifier

from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
LABELS = (X[:, 0] > 0).astype(int)
Y = one_hot(LABELS, 2)
PROBLEM = Problem((5, 6, 6, 2), loss="squared")


def frozen(thing, _folder):
    """Pickled out of band: arrays lie in bytes, which nobody can change."""
    buffers = []
    data = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])


def mapped(mode):
    def again(thing, folder):
        joblib.dump(thing, folder / "thing")
        return joblib.load(folder / "thing", mmap_mode=mode)

    return again


# r+ may be written to, but what is written would go to the file of the dump.
WAYS = {
    "frozen": frozen,
    "read": mapped(None),
    "r": mapped("r"),
    "r+": mapped("r+"),
    "c": mapped("c"),
}


def weights(estimator):
    return [*estimator.network_.W, *estimator._stream.state.W[1:]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("average", [None, 0.0])
def test_a_stream_goes_on_to_the_same_bits_and_changes_nothing_it_came_from(way, average, tmp_path):
    def stream():
        started = BCDClassifier((6, 6), random_state=0, average=average)
        return started.partial_fit(X, LABELS, classes=[0, 1])

    straight, other = stream(), WAYS[way](stream(), tmp_path)
    before = (tmp_path / "thing").read_bytes() if way != "frozen" else None
    for _ in range(12):  # the metrics are renewed in the ninth batch
        straight.partial_fit(X, LABELS)
        other.partial_fit(X, LABELS)
    for one, another in zip(weights(straight), weights(other), strict=True):
        np.testing.assert_array_equal(one, another)
    if before is not None:
        assert (tmp_path / "thing").read_bytes() == before


SOLVERS = {
    "three-splitting": ThreeSplitting(PROBLEM, n_threads=1),
    "two-splitting": TwoSplitting(PROBLEM, n_threads=1),
    "accelerated": ThreeSplitting(PROBLEM, n_threads=1, acceleration="nesterov"),
    "mini-batch": MiniBatchThreeSplitting(PROBLEM, n_threads=1),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_state_that_cannot_be_written_to_steps_on_to_the_same_bits(name, tmp_path):
    solver = SOLVERS[name]
    more = {"passes": 6} if isinstance(solver, MiniBatchThreeSplitting) else {}
    states = [solver.init(X, Y, seed=3, **more) for _ in range(3)]
    for state in states:
        solver.step(state)
    states = [states[0], mapped("r")(states[1], tmp_path), frozen(states[2], tmp_path)]
    dump = (tmp_path / "thing").read_bytes()
    held = states[1].X
    for state in states:
        solver.step(solver.step(state))
    assert states[1].X is held  # samples are read only, and need no copy
    blocks = ("W", "S") if more else ("W", "V", "U")
    for state in states[1:]:
        pairs = [(states[0], state)]
        if name == "accelerated":
            pairs.append((states[0].momentum, state.momentum))
        for (first, second), block in itertools.product(pairs, blocks):
            for one, other in zip(getattr(first, block), getattr(second, block), strict=True):
                np.testing.assert_array_equal(one, other)
    assert (tmp_path / "thing").read_bytes() == dump


@pytest.mark.slow
def test_workers_of_joblib_go_on_with_a_stream():
    # Arrays of more than a megabyte come to them as read-only maps.
    wide = RNG.normal(size=(40, 520))
    targets = (wide[:, :2] > 0).astype(int)
    alone, spread = (
        MultiOutputClassifier(BCDClassifier((520,), random_state=0), n_jobs=n) for n in (None, 2)
    )
    for estimator in (alone, spread):
        for _ in range(2):
            estimator.partial_fit(wide, targets, classes=[[0, 1], [0, 1]])
    np.testing.assert_array_equal(
        *(np.stack(estimator.predict_proba(wide)) for estimator in (alone, spread))
    )


def strided(A):
    room = np.zeros((2 * A.shape[0], *(3 * d for d in A.shape[1:])), A.dtype)
    view = room[tuple(slice(None, None, k) for k in (2, 3)[: A.ndim])]
    view[...] = A
    return view


def backwards(A):
    turn = (slice(None, None, -1),) * A.ndim
    return A[turn].copy()[turn]


def unaligned(A):
    view = np.ndarray(A.shape, A.dtype, np.zeros(A.nbytes + 1, np.uint8).data, offset=1)
    view[...] = A
    return view


def saved(A, folder):
    np.save(folder / f"{A.shape}-{A.dtype.kind}.npy", A)
    return np.load(folder / f"{A.shape}-{A.dtype.kind}.npy", mmap_mode="r")


FORMS = {
    "mapped": lambda A, folder: saved(A, folder),
    "mapped columns": lambda A, folder: saved(np.asfortranarray(A), folder),
    "strided": lambda A, folder: strided(A),
    "backwards": lambda A, folder: backwards(A),
    "columns": lambda A, folder: np.asfortranarray(A),
    "swapped": lambda A, folder: saved(A.astype(A.dtype.newbyteorder()), folder),
    "unaligned": lambda A, folder: unaligned(A),
}


def of_classifier(X, labels, targets, weight):
    estimator = BCDClassifier((6,), max_iter=2, random_state=0, warm_start=True)
    estimator.fit(X, labels, weight).fit(X, labels, weight).partial_fit(X, labels, None, weight)
    return [*estimator.network_.W, estimator.predict_proba(X), estimator.model_.outputs(X)]


def of_full_batches(X, labels, targets, weight):
    found = [
        BCDRegressor((6,), solver="two-splitting", max_iter=2, random_state=0)
        .fit(X, targets)
        .predict(X)
    ]
    for solver in (ThreeSplitting, TwoSplitting):
        found += solver(PROBLEM, n_threads=1).fit(X, targets, max_iter=2).network.W
    return found


def of_mini_batches(X, labels, targets, weight):
    result = MiniBatchThreeSplitting(PROBLEM).fit(X, targets, max_iter=2, sample_weight=weight)
    return [*result.network.W, result.network.forward(X)]


@pytest.mark.parametrize("use", [of_classifier, of_full_batches, of_mini_batches])
def test_how_an_array_lies_in_memory_changes_no_bit(use, tmp_path):
    data = X, LABELS, X[:, :2] * 2.0 + 1.0, RNG.integers(1, 4, 60).astype(float)
    plain = use(*data)
    for name, form in FORMS.items():
        given = [form(A, tmp_path) for A in data]
        for A in given:
            A.setflags(write=False)
        for one, other in zip(plain, use(*given), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("use", [of_classifier, of_mini_batches])
def test_rows_that_are_one_in_memory_and_short_types_are_as_their_copies(use):
    weight = np.broadcast_to(2.0, (60,))
    short = [np.round(3 * X).astype(kind) for kind in ("float16", "longdouble", "int8", ">f2")]
    for A in (np.broadcast_to(X[0], X.shape), np.broadcast_to(X[:, :1], X.shape), *short):
        A.setflags(write=False)
        targets = A[:, :2]
        plain = use(np.array(A, np.float64), LABELS, np.array(targets, np.float64), weight.copy())
        for one, other in zip(plain, use(A, LABELS, targets, weight), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=str(A.dtype))
