"""Values of kernels against NumPy, and of runs as JSON, under settings of Numba."""

import json
import warnings

import numpy as np
from numba.core.errors import TypingError

from fastbcd import BCDClassifier, MiniBatchThreeSplitting, Problem, ThreeSplitting, kernels
from fastbcd.callbacks import Certify, Objective
from fastbcd.kernels import blas
from fastbcd.kernels.plain import PLAIN

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
labels = (X[:, 0] > 0).astype(int)
Y = np.eye(2)[labels]


def algebra():
    """BLAS and LAPACK: what they compute, by their definitions."""
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        A, B = rng.normal(size=(4, 3)).astype(dtype), rng.normal(size=(5, 3)).astype(dtype)
        out = np.ones((4, 5), dtype)
        kernels.product_transposed(out, A, B, 2.0, 3.0)
        np.testing.assert_allclose(out, 2 * A @ B.T + 3, rtol=tolerance, atol=tolerance)
        square = np.zeros((3, 3), dtype)
        blas.gram(square, A, 0.0)
        np.testing.assert_allclose(np.tril(square), np.tril(A.T @ A), rtol=tolerance)
        view = np.zeros((4, 6), dtype)[:, :5]  # rows that do not lie one behind the other
        kernels.product(view, A, np.ascontiguousarray(B.T), 1.0, 0.0)
        np.testing.assert_allclose(view, A @ B.T, rtol=tolerance, atol=tolerance)
    H = np.cov(rng.normal(size=(5, 50))) + np.eye(5)
    factor, info, values = H.copy(), np.ones(1, np.int32), np.empty(5)
    blas.cholesky(factor, info)
    assert info[0] == 0
    np.testing.assert_allclose(np.tril(factor), np.linalg.cholesky(H), rtol=1e-12)
    vectors = H.copy()
    blas.eigenvectors(vectors, values, np.empty(81), np.empty(28, np.int32), info)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(H), rtol=1e-12)
    np.testing.assert_allclose(vectors @ H @ vectors.T, np.diag(values), atol=1e-12)
    # As compiled code does: a matrix that is not positive definite is no exception.
    blas.cholesky(-H, info)
    assert info[0] == 1
    for wrong in (H.astype(np.float32), H.astype(int)):
        try:
            blas.cholesky(wrong, info)
        except TypingError:
            continue
        raise AssertionError(f"{wrong.dtype} was taken for float64")


def extremes():
    """The arithmetic of compiled code at its limits: numbers, not exceptions."""
    loss, y = kernels.exponential(), np.ones(1)
    assert loss.row_value(np.array([-1000.0]), y) == np.inf
    assert kernels.logistic_ovr().row_value(np.array([-1000.0]), y) == 1000.0
    assert kernels.logistic_ovr().row_value(np.array([1000.0]), y) == 0.0
    assert kernels.sigmoid().value(-1000.0) >= 0.0
    assert kernels.sigmoid().value(1000.0) == 1.0
    assert np.isnan(kernels.softplus().value(np.nan))
    if PLAIN:  # compiled functions hand Python's floats to Python
        assert isinstance(kernels.tanh().value(np.float32(0.5)), np.float32)


def runs():
    problem, callbacks = Problem((3, 4, 2), activation="sigmoid"), [Objective(), Certify()]
    result = ThreeSplitting(problem, dtype="float64").fit(X, Y, max_iter=2, callbacks=callbacks)
    values = {"float64": [record["objective"] for record in result.history]}
    values["float64"] += [float(W[0, 0]) for W in result.state.weights]
    result = MiniBatchThreeSplitting(Problem((3, 4, 2)), batch_size=8).fit(X, Y, max_iter=2)
    values["mini-batches"] = [float(W[0, 0]) for W in result.state.weights]
    estimator = BCDClassifier((4,), max_iter=2, random_state=0).fit(X, labels)
    values["probabilities"] = estimator.predict_proba(X)[:5, 0].tolist()
    return values


if __name__ == "__main__":
    warnings.simplefilter("error")
    algebra()
    extremes()
    print(json.dumps(runs()))
