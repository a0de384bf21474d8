"""Kernels of sparse samples, and the rows that they take, against dense products in float64."""

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array, csr_matrix

from fastbcd import InputError, kernels
from fastbcd.data.sparse import column_largest, sparse_rows
from fastbcd.devices.rounded_products import RoundedProducts
from fastbcd.layers import Dense

M, D, K, R = 7, 40, 5, 3


@pytest.fixture
def matrix():
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((2 * M, D)) < 0.2, rng.standard_normal((2 * M, D)), 0.0)
    dense[3] = dense[8] = 0.0
    return csr_array(dense.astype(np.float32))


@pytest.fixture
def rows(matrix):
    """Some rows in another order, one of them empty and one of them twice, and V^ (M, D + 1)."""
    chosen = np.array([9, 3, 0, 13, 0, 6, 8])
    dense = matrix.toarray()[chosen].astype(np.float64)
    return sparse_rows(matrix, "X")[chosen], np.column_stack([dense, np.ones(M)])


def normal(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def test_the_layer_s_products_are_those_of_the_dense_rows(rows):
    V, dense = rows
    layer, W, U = Dense(D, K), normal(K, D + 1), np.empty((M, K), np.float32)
    # A device that rounds products does not round these.
    layer.batch_apply(RoundedProducts(), U, V, W)
    close(U, dense @ W.T.astype(np.float64))
    U[:] = 0.0
    layer.on(type("Device", (), {"kernels": kernels}), W).apply(U, V)
    close(U, dense @ W.T.astype(np.float64))

    every, N = normal(M, 2 * K), normal(K, D + 1)
    wanted = 0.5 * every[:, 1 : K + 1].T.astype(np.float64) @ dense + 0.25 * N
    layer.batch_gradient(RoundedProducts(), N, every[:, 1 : K + 1], V, 0.5, 0.25)
    close(N, wanted)

    Q, projected, sketch = normal(D + 1, R), np.empty((M, R), np.float32), normal(D + 1, R)
    layer.batch_project(kernels, projected, V, Q)
    close(projected, dense @ Q.astype(np.float64))
    wanted = 0.5 * dense.T @ projected + 2.0 * sketch
    squares = layer.batch_sketch(kernels, sketch, V, Q, projected, 0.5, 2.0)
    close(sketch, wanted)
    np.testing.assert_allclose(squares, (dense * dense).sum(), rtol=1e-6)


def test_a_width_beyond_the_columns_that_are_copied_together():
    n = 2 * kernels.sparse.TOGETHER + 5
    X = csr_array(normal(3, n))
    W, U = normal(2, n + 1), np.empty((3, 2), np.float32)
    Dense(n, 2).batch_apply(kernels, U, sparse_rows(X, "X"), W)
    np.testing.assert_allclose(U, X @ W[:, :-1].T + W[:, -1], rtol=1e-4, atol=1e-3)


def test_rows_are_those_of_the_matrix_whatever_the_index(matrix):
    X, dense = sparse_rows(matrix, "X"), matrix.toarray()
    for index in (slice(2, 9), slice(1, None, 3), np.array([5, 5, 0]), dense[:, 0] != 0):
        part = X[index]
        assert (part.shape, part.dtype, len(part)) == (dense[index].shape, dense.dtype, len(part))
        np.testing.assert_array_equal(part.toarray(), dense[index])
        np.testing.assert_array_equal(part.compact().toarray(), dense[index])
        assert part.columns is X.columns  # no copy
        np.testing.assert_array_equal(column_largest(part), np.abs(dense[index]).max(axis=0))
    # A few rows do not compute, or keep, the values of all.
    assert len(X[4:5].astype(np.float64).values) == X[4:5].stored < X.stored


def test_any_form_becomes_rows_and_the_caller_s_matrix_stays():
    values, places = [1.0, 2.0, 3.0, 0.0, 4.0], ([0, 0, 1, 1, 0], [3, 1, 2, 0, 3])
    twice = coo_array((values, places), shape=(2, 4))
    unsorted = csr_matrix((values[:3], [3, 1, 2], [0, 2, 3]), shape=(2, 4))
    unsorted.indices = unsorted.indices.astype(np.int64)
    zeros = csr_array(([1.0, 0.0], [0, 2], [0, 1, 2]), shape=(2, 4))
    for given in (twice, twice.tocsc(), unsorted, zeros):
        before = given.toarray(), given.nnz
        X = sparse_rows(given, "X")
        np.testing.assert_array_equal(X.toarray(), before[0])
        assert X.columns.dtype == np.int32
        assert X.stored == np.count_nonzero(before[0])
        assert all(
            (np.diff(X.columns[i:j]) > 0).all() for i, j in zip(X.first, X.last, strict=True)
        )
        assert given.nnz == before[1]
    np.testing.assert_array_equal(unsorted.indices, [3, 1, 2])


def bad(**parts):
    X = csr_matrix(np.eye(3))
    for name, value in parts.items():
        setattr(X, name, np.array(value))
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (bad(data=[1.0, 1.0, np.nan]), "row 2, column 2 is nan"),
        (bad(data=[1.0, -np.inf, 1.0]), "row 1, column 1 is -inf"),
        (bad(indices=[0, 1, 7]), "not a well-formed sparse matrix"),
        (bad(indices=[0, -1, 2]), "not a well-formed sparse matrix"),
        (bad(indptr=[0, 2, 1, 3]), "not a well-formed sparse matrix"),
        (csr_matrix(np.eye(3) * 1j), "numbers only"),
        (csr_matrix((0, 3)), "at least one sample"),
    ],
)
def test_a_bad_matrix_is_refused(X, message):
    with pytest.raises(InputError, match=message):
        sparse_rows(X, "X")
