"""Weights of samples in the mini-batch solver: the weighted loss's gradient, and its mean."""

import numpy as np
import pytest

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, kernels, one_hot
from fastbcd.callbacks import Objective
from fastbcd.kernels import cross_entropy, squared


def random_data(n=300, d=12, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), one_hot(rng.integers(k, size=n), k)


def exact_solver(**options):
    """Displacements so small that they follow the gradient, in one batch."""
    options = {"batch_size": 5000, "dtype": "float64", "displacement": 1e-6, "rho": 1e4} | options
    return MiniBatchThreeSplitting(Problem((12, 9, 9, 4), activation="tanh"), **options)


def cosine(A, B):
    return np.sum(A * B) / np.linalg.norm(A) / np.linalg.norm(B)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kernels_are_their_formulas(dtype):
    rng = np.random.default_rng(0)
    A, Y = rng.random((7, 3)).astype(dtype), one_hot(rng.integers(3, size=7), 3).astype(dtype)
    weight = rng.random(7)
    each = [kernels.loss_sum(cross_entropy(), A[i : i + 1], Y[i : i + 1]) for i in range(7)]
    total = kernels.weighted_loss_sum(cross_entropy(), A, Y, weight)
    assert total == pytest.approx(weight @ each, rel=1e-12)
    assert kernels.weighted_loss_sum(squared(), A, A, weight) == 0
    expected = A * weight[:, None].astype(dtype)
    kernels.scale_rows(A[:, :2], weight)
    np.testing.assert_allclose(A[:, :2], expected[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(A[:, 2] != expected[:, 2], True)


def test_a_weight_moves_the_weights_as_so_many_copies_of_the_sample():
    X, Y = random_data()
    weight = np.random.default_rng(1).integers(0, 4, size=300)
    copies = np.repeat(np.arange(300), weight)
    steps = {}
    for name, data in {
        "weighted": (X, Y, weight),
        "copies": (X[copies], Y[copies]),
        "plain": (X, Y),
    }.items():
        solver = exact_solver()
        state = solver.partial_fit(solver.init(X, Y), *data)
        steps[name] = state.S[1:]
    for weighted, copied, plain in zip(*steps.values(), strict=True):
        assert cosine(weighted, copied) > 1 - 1e-6
        assert cosine(plain, copied) < 0.99


def test_a_batch_that_counts_twice_moves_the_weights_twice_as_far():
    X, Y = random_data()
    steps = []
    for factor in (1.0, 2.0):
        solver = exact_solver()
        weight = factor * np.random.default_rng(1).random(300)
        steps.append(solver.partial_fit(solver.init(X, Y), X, Y, weight).S[1:])
    for once, twice in zip(*steps, strict=True):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-9)


def test_the_objective_is_the_weighted_mean_of_the_losses():
    X, Y = random_data()
    weight = np.random.default_rng(1).random(300)
    solver = exact_solver()
    state = solver.init(X, Y, sample_weight=weight)
    assert state.sample_weight.mean() == pytest.approx(1)
    network = solver.fit(X, Y, max_iter=0).network
    for w in (network.W[-1],):  # the same first weights, but for the weighted mean of Y
        w[:] = state.W[-1]
    losses = 0.5 * np.sum((network.forward(X) - Y) ** 2, axis=1)
    assert solver.objective(state) == pytest.approx(np.average(losses, weights=weight), rel=1e-9)


def test_samples_that_count_more_are_fitted_better():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 12))
    y = rng.integers(4, size=400)  # labels that nothing explains
    solver = MiniBatchThreeSplitting(Problem((12, 16, 4)), batch_size=50)
    weight = np.where(np.arange(400) < 100, 10.0, 0.1)
    weighted = solver.fit(X, one_hot(y, 4), max_iter=60, sample_weight=weight).network
    right = weighted.forward(X).argmax(axis=1) == y
    assert right[:100].mean() > 0.6
    assert right[100:].mean() < 0.5


def test_samples_of_weight_0_teach_nothing():
    X, Y = random_data()
    weight = np.r_[np.ones(250), np.zeros(50)]
    changed = Y.copy()
    changed[250:] = Y[250:, ::-1]
    solver = MiniBatchThreeSplitting(Problem((12, 16, 4)), batch_size=50)
    a, b = (solver.fit(X, T, max_iter=5, sample_weight=weight).network.W for T in (Y, changed))
    for own, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(own, other)


def test_equal_weights_are_no_weights():
    X, Y = random_data()
    solver = MiniBatchThreeSplitting(Problem((12, 16, 4)), batch_size=50)
    assert solver.init(X, Y, sample_weight=np.full(300, 0.3)).sample_weight is None
    plain = solver.fit(X, Y, max_iter=3).network.W
    for a, b in zip(
        plain, solver.fit(X, Y, max_iter=3, sample_weight=[7] * 300).network.W, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_weights_and_data_in_files_give_the_same_bits_on_any_number_of_threads(tmp_path):
    X, Y = random_data(700)
    X, weight = X.astype(np.float32), np.random.default_rng(1).random(700)
    mapped = []
    for name, array in {"X": X, "Y": Y, "weight": weight}.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))

    def run(X, Y, weight, n_threads):
        solver = MiniBatchThreeSplitting(
            Problem((12, 16, 4)), batch_size=128, n_threads=n_threads, tile_rows=50
        )
        result = solver.fit(X, Y, max_iter=2, sample_weight=weight, callbacks=[Objective()])
        return [*result.network.W, result.history[-1]["objective"]]

    for a, b in zip(run(X, Y, weight, 1), run(*mapped, 2), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), "one number for each of 300 samples"),
        (-np.ones(300), "not negative, but number 0 is -1"),
        (np.r_[np.ones(299), np.nan], "number 299 is nan"),
        (np.zeros(300), "zero for every sample"),
        (["a"] * 300, "numbers only"),
    ],
)
def test_wrong_weights_are_errors_that_name_the_culprit(weight, message):
    X, Y = random_data()
    with pytest.raises(InputError, match=message):
        exact_solver().fit(X, Y, sample_weight=weight)
