"""Products, QR and SVD from Python: right to rounding, in any layout, on one thread."""

import numpy as np
import pytest

from fastbcd.kernels.dense import eigh, qr, svd, times

SHAPES = [(1, 5, 3), (40, 30, 1), (1, 8, 1), (6, 1, 4), (64, 64, 10), (100, 784, 256), (0, 3, 2)]


@pytest.mark.parametrize("layout", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("shape", SHAPES)
def test_products(shape, layout):
    m, k, n = shape
    rng = np.random.default_rng(0)
    # Small whole numbers: every order of the sums gives the same.
    A = np.array(rng.integers(-9, 9, (m, k)), np.float64, order=layout[0])
    B = np.array(rng.integers(-9, 9, (k, n)), np.float64, order=layout[1])
    np.testing.assert_array_equal(times(A, B), np.einsum("ik,kj->ij", A, B))


def test_products_of_views_of_other_types_and_without_columns():
    A = np.arange(24.0).reshape(4, 6)
    np.testing.assert_array_equal(
        times(A[:, ::2], A.T[::2]), np.einsum("ik,jk", A[:, ::2], A[:, ::2])
    )
    assert times(A.astype(np.float32), np.ones((6, 1), np.int8)).ravel().tolist() == [
        15,
        51,
        87,
        123,
    ]
    np.testing.assert_array_equal(times(np.ones((3, 0)), np.ones((0, 2))), np.zeros((3, 2)))


@pytest.mark.parametrize("shape", [(5, 5), (65, 16), (11, 1), (300, 257), (3, 0)])
def test_qr(shape):
    A = np.random.default_rng(1).standard_normal(shape)
    before = A.copy()
    Q, R = qr(A)
    n = shape[1]
    np.testing.assert_array_equal(A, before)
    np.testing.assert_allclose(np.einsum("ik,kj->ij", Q, R), A, atol=1e-12)
    np.testing.assert_allclose(np.einsum("ki,kj->ij", Q, Q), np.eye(n), atol=1e-12)
    np.testing.assert_array_equal(R, np.triu(R))


@pytest.mark.parametrize("n", [1, 7, 130])
def test_svd(n):
    A = np.random.default_rng(2).standard_normal((n, n))
    U, s, VT = svd(A)
    np.testing.assert_allclose(np.einsum("ik,k,kj->ij", U, s, VT), A, atol=1e-11)
    np.testing.assert_allclose(np.einsum("ki,kj->ij", U, U), np.eye(n), atol=1e-12)
    assert (np.diff(s) <= 0).all()


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("n", [0, 1, 7, 130])
def test_eigenvectors(n, dtype, digits):
    A = np.random.default_rng(3).standard_normal((n, n)).astype(dtype)
    A = A + A.T
    before = A.copy()
    e, Q = eigh(A)
    assert e.dtype == Q.dtype == dtype
    np.testing.assert_array_equal(A, before)
    e, Q = e.astype("float64"), Q.astype("float64")
    np.testing.assert_allclose(np.einsum("ik,k,jk->ij", Q, e, Q), A, atol=10 * digits)
    np.testing.assert_allclose(np.einsum("ki,kj->ij", Q, Q), np.eye(n), atol=digits)
    assert (np.diff(e) >= 0).all()


def test_svd_of_what_is_not_finite_is_an_error():
    with pytest.raises(np.linalg.LinAlgError, match="dgesdd"):
        svd(np.full((3, 3), np.nan))
