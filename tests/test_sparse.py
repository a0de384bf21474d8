"""Sparse inputs of mini-batches, estimators and models do what the same dense inputs do."""

import pickle
import re
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from command import fastbcd
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, save_npz

from fastbcd import (
    BCDClassifier,
    BCDRegressor,
    InputError,
    MiniBatchThreeSplitting,
    Model,
    Problem,
    ThreeSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.data.sparse import sparse_rows
from fastbcd.estimators import canonical
from fastbcd.solvers.mini_batch.sparse_inputs import taken_sparse

N, D = 240, 60
PROBLEM = Problem((D, 16, 2))


def make(n=N, d=D, in_a_row=6):
    rng = np.random.default_rng(0)
    ends = in_a_row * np.arange(n + 1)
    X = csr_array((rng.random(ends[-1]), rng.integers(d, size=ends[-1]), ends), shape=(n, d))
    X.sum_duplicates()
    numbers = np.asarray(X[:, : d // 3].sum(axis=1) - X[:, d // 3 : 2 * d // 3].sum(axis=1))
    return X, (numbers > np.median(numbers)).astype(int), numbers


X, y, NUMBERS = make()
Y = one_hot(y)


def solver(**options):
    return MiniBatchThreeSplitting(PROBLEM, **{"batch_size": 60, "dtype": "float64"} | options)


def small(**options):
    usual = {} if "layers" in options else {"hidden_layer_sizes": 16}
    return BCDClassifier(
        **usual | {"random_state": 0, "max_iter": 20, "dtype": "float64"} | options
    )


@pytest.mark.parametrize("options", [{}, {"step_unit": "output", "dropout": 0.2}], ids=str)
def test_training_on_sparse_rows_is_that_on_dense_ones(options):
    weight = np.random.default_rng(0).random(N)
    sparse = solver(**options).fit(X, Y, 3, seed=1, sample_weight=weight)
    dense = solver(**options).fit(X.toarray(), Y, 3, seed=1, sample_weight=weight)
    for a, b in zip(sparse.network.W, dense.network.W, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
    objectives = [solver().objective(result.state) for result in (sparse, dense)]
    np.testing.assert_allclose(*objectives, rtol=1e-10)
    np.testing.assert_allclose(
        sparse.network.forward(X), sparse.network.forward(X.toarray()), rtol=1e-12
    )


def test_threads_change_no_bit():
    # Tiles have 256 rows, and a part of W has 8 rows at least.
    given, _, numbers = make(600, 600_000, 10)
    targets = one_hot((numbers > 0).astype(int))
    found = []
    for n_threads in (1, 2):
        run = MiniBatchThreeSplitting(
            Problem((600_000, 16, 2)), batch_size=600, rank=1, n_threads=n_threads
        )
        found.append(run.fit(given, targets, 2).network.W)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stream_and_a_checkpoint_go_on_with_sparse_rows(tmp_path):
    run = solver(schedule="constant")
    states = [run.init(A[:60], Y[:60]) for A in (X, X.toarray())]
    for start in range(0, N, 60):
        part = slice(start, start + 60)
        run.partial_fit(states[0], X[part], Y[part])
        run.partial_fit(states[1], X.toarray()[part], Y[part])
    np.testing.assert_allclose(states[0].W[1], states[1].W[1], rtol=0, atol=1e-10)
    # The state has no rows of the last batch.
    assert all(batch.V[0] is None for batch in states[0].cache.batches.values())

    path = tmp_path / "run.safetensors"
    whole = solver().fit(X, Y, 3, callbacks=[SaveCheckpoint(path, every=2)])
    again = resume(path, solver(), X, Y)
    np.testing.assert_array_equal(whole.network.W[0], again.network.W[0])
    other = X.copy()
    other.data[0] += 1.0
    with pytest.raises(InputError, match="not the same data"):
        resume(path, solver(), other, Y)


@pytest.mark.parametrize("collide", [False, True])
def test_samples_are_ordered_and_merged_as_dense_ones(collide, monkeypatch):
    rows = np.random.default_rng(0).integers(N, size=2 * N)  # many of them equal
    dense = X.toarray()[rows].round(1)
    codes, weight = y[rows][:, None], np.random.default_rng(1).integers(3, size=2 * N) / 2
    if collide:
        monkeypatch.setattr(canonical, "_hash", lambda A, offset: np.zeros((len(A), 2), np.uint64))
    found, weights = canonical.canonical(sparse_rows(csr_array(dense), "X"), codes, weight)
    wanted, of_dense = canonical.canonical(dense, codes, weight)
    # If all keys are equal, the order is another one.
    order, same = (np.argsort(found), np.argsort(wanted)) if collide else (slice(None),) * 2
    np.testing.assert_array_equal(found[order], wanted[same])
    np.testing.assert_array_equal(weights[order], of_dense[same])
    assert len(found) < N


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-9),
        # Batches of fewer samples than the metric has directions would leave one to rounding.
        ({"early_stopping": True, "batch_size": 40}, 1e-9),
        # Trials find that these few samples are learned by heart, which makes rounding grow.
        ({"max_iter": None}, 0.1),
        ({"loss": "hinge", "class_weight": "balanced", "layers": "dense:16"}, 1e-9),
    ],
    ids=str,
)
def test_a_classifier_learns_from_sparse_rows_what_it_learns_from_dense_ones(options, tolerance):
    sparse = small(preprocess="none", **options).fit(csc_array(X), y)
    dense = small(preprocess="none", **options).fit(X.toarray(), y)
    assert sparse.n_iter_ == dense.n_iter_
    np.testing.assert_allclose(
        sparse.decision_function(X), dense.decision_function(X.toarray()), rtol=0, atol=tolerance
    )
    assert sparse.score(X, y) > 0.8


def test_numbers_and_several_labels_are_learned_from_sparse_rows():
    regressor = BCDRegressor((16,), max_iter=30, random_state=0, dtype="float64")
    assert regressor.fit(csr_matrix(X), NUMBERS).score(X, NUMBERS) > 0.9
    labels = np.column_stack([y, np.quantile(NUMBERS, 0.7) < NUMBERS])
    assert small(max_iter=40).fit(X, labels).score(X, labels) > 0.85


def test_a_stream_scales_columns_when_they_appear():
    late = X.toarray()
    late[: N // 2, 5] = 0.0
    late[N // 2 :, 5] *= 1e6
    given, stream = csr_array(late), small(max_iter=None)
    for start in range(0, N, N // 4):
        part = slice(start, start + N // 4)
        stream.partial_fit(given[part], y[part], classes=[0, 1])
    scale = stream.model_.preprocessing.scale
    assert 1.0 <= scale[5] * late[:, 5].max() < 4.0  # and the others are about 1
    assert np.isfinite(stream.predict_proba(given)).all()
    before = stream.network_.W[0].copy()
    stream.partial_fit(late[:50], y[:50])  # dense rows are as good
    assert not np.array_equal(stream.network_.W[0], before)
    pickle.loads(pickle.dumps(stream)).partial_fit(given[:50], y[:50])


def test_scales_keep_alike_columns_alike_and_others_apart():
    given = csr_array(np.array([[1.0, 4.0, 0.0, 1e4, 0.0], [1.0, 1.0, 1.0, 0.0, 0.0]]))
    classifier = small(max_iter=1).fit(given, [0, 1])
    preprocessing = classifier.model_.preprocessing
    # The largest magnitudes are 1, 4, 1 and 10,000, of which the median is 1 or, of their
    # reciprocals, (1 + 1/4) / 2.
    shared = (1.0 + 0.25) / 2
    wanted = [shared**0.5, (shared / 4) ** 0.5, shared**0.5, 1e-4, 0.0]
    np.testing.assert_allclose(preprocessing.scale, wanted)
    assert not preprocessing.shift.any()
    # A column without numbers in training does not count.
    new = given.toarray()
    new[:, 4] = 1e9
    np.testing.assert_array_equal(classifier.predict_proba(new), classifier.predict_proba(given))


def test_a_model_predicts_sparse_and_dense_rows_alike(tmp_path):
    of_sparse = small().fit(X, y)
    of_dense = small().fit(X.toarray(), y)  # whose scaling shifts columns
    for estimator in (of_sparse, of_dense):
        estimator.model_.save(tmp_path / "model")
        model = Model.load(tmp_path / "model")
        wanted = estimator.predict_proba(X.toarray())
        np.testing.assert_allclose(estimator.predict_proba(X), wanted, rtol=1e-10)
        np.testing.assert_allclose(model.predict_proba(csc_array(X)), wanted, rtol=1e-10)
    with pytest.raises(InputError, match="61 features"):
        model.predict(csr_array((2, 61)))
    counts = small(max_iter=1).fit((X.toarray() > 0.5).astype(np.uint8), y)
    with pytest.raises(InputError, match=r"0\.5 in row 0, column 1"):
        counts.predict(csr_array(np.eye(D)[:2] + 0.5 * np.eye(D, k=1)[:2]))


def test_the_tag_says_which_solver_takes_sparse_rows():
    assert small().__sklearn_tags__().input_tags.sparse
    full = BCDRegressor(solver="three-splitting").__sklearn_tags__()
    assert not full.input_tags.sparse


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "three-splitting", "loss": "squared"}, "use solver='mini-batch'"),
        ({"preprocess": "standard"}, "'standard' shifts columns"),
        ({"input_noise": 0.1}, "input_noise needs dense inputs"),
        ({"layers": "conv:2:3", "image_shape": (6, 10)}, "Conv2d.*needs dense inputs"),
        (
            {"layers": "dense:8", "image_shape": (6, 10), "augment": "flip"},
            "augment needs dense inputs",
        ),
        ({"residual": True, "hidden_layer_sizes": (D,)}, "residual: the first layer"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_an_estimator_refuses_what_needs_dense_inputs(options, message):
    options = {"max_iter": 1} | options
    with pytest.raises(InputError, match=message):
        BCDClassifier(**options).fit(X, y)


def test_other_solvers_and_targets_refuse_sparse_arrays():
    with pytest.raises(InputError, match=r"X is sparse.*X\.toarray"):
        ThreeSplitting(PROBLEM).fit(X, Y, 1)
    with pytest.raises(InputError, match=r"Y is sparse.*Y\.toarray"):
        solver().fit(X, csr_array(Y), 1)
    with pytest.raises(InputError, match="59 features"):
        solver().fit(X[:, 1:], Y, 1)
    with pytest.raises(InputError, match="memory needs dense inputs"):
        solver(memory="8GiB").fit(X, Y, 1)
    dense = small().fit(X.toarray(), y)
    with pytest.raises(InputError, match="was dense so far"):
        dense.set_params(warm_start=True).fit(X, y)
    large = X.copy()
    large.data[3] = 1e300
    with pytest.raises(InputError, match="X must be finite, but row 0"):
        solver(dtype="float32").fit(large, Y, 1)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        (SimpleNamespace(name="cuda"), "device='cuda' needs dense inputs"),
        (SimpleNamespace(name="cpu", ranks=SimpleNamespace(size=2)), "comm needs dense inputs"),
    ],
)
def test_a_gpu_and_several_processes_refuse_sparse_rows(device, message):
    with pytest.raises(InputError, match=message):
        taken_sparse(SimpleNamespace(device=device, problem=PROBLEM), X)


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for part, rows in (("train", slice(200)), ("test", slice(200, N))):
        save_npz(data / f"X_{part}.npz", X[rows])
        np.save(data / f"y_{part}.npy", np.array(["low", "high"])[y[rows]])
    return data


def test_the_command_line_takes_the_files_of_save_npz(folder):
    command = ["train", folder, "--hidden", "16", "--epochs", "20", "--out", "run"]
    out, _ = fastbcd(*command, "--early-stopping", cwd=folder)
    accuracy = float(re.search(r"test accuracy ([0-9.]+)", out)[1])
    assert accuracy > 0.7
    out, _ = fastbcd("predict", "run", cwd=folder)
    assert f"accuracy {accuracy}" in out
    more = folder / "more"
    more.mkdir()
    save_npz(more / "X_test.npz", csc_matrix(X[200:]))  # without labels, in another format
    out, _ = fastbcd("predict", "run", more, cwd=folder)
    assert len(out.splitlines()) == 41
    model = Model.load(folder / "run" / "model.safetensors")
    assert np.mean(model.predict(X[200:]) == np.load(folder / "y_test.npy")) == accuracy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "full"], "X is sparse"),
        (["--memory", "4GiB"], "one process in memory"),
        (["--layers", "conv:2:3", "--image-shape", "6,10"], "needs dense inputs"),
    ],
)
def test_the_command_line_says_what_needs_dense_features(arguments, message, folder):
    _, err = fastbcd("train", folder, *arguments, cwd=folder, status=2)
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("damage", ["cut", "missing", "no labels"])
def test_a_damaged_folder_of_sparse_features_is_an_error(damage, folder):
    file = folder / ("y_test.npy" if damage == "no labels" else "X_test.npz")
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    _, err = fastbcd("train", folder, cwd=folder, status=2)
    assert (f"{file.name} cannot be read" if damage == "cut" else f"has no {file.name}") in err


@pytest.mark.slow
def test_memory_does_not_depend_on_the_number_of_columns_times_rows():
    given, labels, _ = make(20_000, 100_000, 80)
    BCDClassifier((4,), max_iter=1, random_state=0).fit(given[:500], labels[:500])  # compiles
    csr = given.data.nbytes + given.indices.nbytes + given.indptr.nbytes
    tracemalloc.start()
    classifier = BCDClassifier((4,), max_iter=1, random_state=0, early_stopping=False)
    classifier.fit(given, labels)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The metric in float64 and the weights; a dense copy would have 8 GB.
    assert peak < csr + 8 * 100_001 * (6 * 16 + 4 * 4) + 2**24
