"""Calls of cuBLAS reach a stand-in in C: orders, leading dimensions, modes, statuses."""

from __future__ import annotations

import ctypes
import gc
import itertools
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastbcd.devices.cuda.cublas import CuBLAS

COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
RNG = np.random.default_rng(3)


class Array:
    """A NumPy array that gives its address like an array of CuPy."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers
        self.data = SimpleNamespace(ptr=numbers.ctypes.data)
        for name in ("shape", "strides", "dtype", "nbytes"):
            setattr(self, name, getattr(numbers, name))

    def __getitem__(self, key: Any) -> Array:
        return Array(self.numbers[key])

    def __len__(self) -> int:
        return len(self.numbers)

    def astype(self, dtype: Any) -> Array:
        return Array(self.numbers.astype(dtype))

    def reshape(self, *shape: int) -> Array:
        return Array(self.numbers.reshape(*shape))


def copied(data: Any, dtype: Any) -> Array:
    return Array(np.array(data, dtype))


@pytest.fixture(scope="module")
def library(tmp_path_factory: Any) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("cublas") / "stand_in.so"
    source = Path(__file__).parent / "cublas_stand_in.c"
    assert COMPILER is not None
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", path, source], check=True)
    return ctypes.CDLL(str(path))


def make(library: ctypes.CDLL, tf32: bool = False) -> CuBLAS:
    return CuBLAS(library, 77, Array(np.empty(64, np.uint8)), copied, tf32)


def matrix(rows: int, columns: int, dtype: Any, padding: int) -> Any:
    """Return some columns of a wider array."""
    return RNG.standard_normal((rows, columns + padding)).astype(dtype)[:, :columns]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("padding", [0, 2])
def test_products(dtype: str, padding: int, library: ctypes.CDLL) -> None:
    cublas, eps = make(library), np.finfo(dtype).eps
    sizes = [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1)]
    flags = itertools.product(sizes, (False, True), (False, True), (0.0, 0.5), (False, True))
    for (m, n, k), transpose_A, transpose_B, keep, on_gpu in flags:
        A = matrix(k, m, dtype, padding) if transpose_A else matrix(m, k, dtype, padding)
        B = matrix(n, k, dtype, padding) if transpose_B else matrix(k, n, dtype, padding)
        out = matrix(m, n, dtype, padding)
        product = (A.T if transpose_A else A) @ (B.T if transpose_B else B)
        expected = 1.5 * product + keep * out
        scale = copied([1.5], "float64") if on_gpu else 1.5
        cublas.gemm(*map(Array, (out, A, B)), scale, keep, transpose_A, transpose_B)
        np.testing.assert_allclose(out, expected, rtol=0, atol=50 * eps)


def test_numbers_on_the_gpu_are_read_there(library: ctypes.CDLL) -> None:
    cublas, count = make(library), ctypes.c_int.in_dll(library, "device_numbers")
    before = count.value
    arrays = [Array(np.ones((2, 2))) for _ in range(3)]
    cublas.gemm(*arrays, copied([2.0], "float64"), 0.0, False, False)
    assert count.value == before + 1
    cublas.gemm(*arrays, 2.0, 0.0, False, False)
    assert count.value == before + 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("of_rows", [False, True])
def test_gram_matrices_are_lower_triangles(dtype: str, of_rows: bool, library: ctypes.CDLL) -> None:
    A, out = matrix(5, 3, dtype, 2), np.full((5, 7) if of_rows else (3, 7), 9.0, dtype)
    square = out[:, : len(out)]
    make(library).gram(Array(square), Array(A), of_rows)
    expected = np.tril(A @ A.T if of_rows else A.T @ A) + 9.0 * np.triu(np.ones_like(square), 1)
    np.testing.assert_allclose(square, expected, rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("tf32", "bits"), [(False, 24), (True, 11)])
def test_products_round_their_factors_and_gram_matrices_do_not(
    tf32: bool, bits: int, library: ctypes.CDLL
) -> None:
    cublas = make(library, tf32)
    # A rounding to `bits` bits keeps the last of these bits of a factor and drops the next one.
    for bit, stays in ((bits - 1, True), (bits, False)):
        number = 1.0 + 2.0**-bit
        A = Array(np.array([[number]], np.float32))
        one, out = Array(np.ones((1, 1), np.float32)), Array(np.zeros((1, 1), np.float32))
        cublas.gemm(out, A, one, 1.0, 0.0, False, False)
        assert (float(out.numbers[0, 0]) == number) == stays
    A = Array(np.array([[1.0 + 2.0**-11]], np.float32))
    cublas.gram(out, A, False)
    assert float(out.numbers[0, 0]) == float(A.numbers[0, 0] * A.numbers[0, 0])


def test_products_of_bfloat16_are_added_up_in_float32(library: ctypes.CDLL) -> None:
    cublas = make(library)
    A, B = (matrix(8, 3, "float32", 1) for _ in range(2))
    bits = [(M.view(np.uint32) >> 16).astype(np.uint16) for M in (A, B)]
    cut = [(M.astype(np.uint32) << 16).view(np.float32) for M in bits]
    out = np.zeros((3, 3), np.float32)
    cublas.gemm(Array(out), *map(Array, bits), 1.0, 0.0, True, False)
    np.testing.assert_allclose(out, cut[0].T @ cut[1], rtol=0, atol=1e-5)
    parts = np.zeros((2, 3, 3), np.float32)
    cublas.partial_products(Array(parts), *map(Array, bits))
    np.testing.assert_allclose(parts[1], cut[0][4:].T @ cut[1][4:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_partial_products_and_gram_matrices(
    dtype: str, library: ctypes.CDLL, monkeypatch: Any
) -> None:
    monkeypatch.setattr("fastbcd.devices.cuda.cublas.GRAM_BLOCK", 2)
    cublas, eps = make(library, tf32=True), np.finfo(dtype).eps
    A, B = matrix(12, 5, dtype, 2), matrix(12, 3, dtype, 1)
    out = RNG.standard_normal((3, 5, 4)).astype(dtype)[:, :, :3]
    cublas.partial_products(Array(out), Array(A), Array(B), true_float32=True)
    expected = np.stack([A[c : c + 4].T @ B[c : c + 4] for c in (0, 4, 8)])
    np.testing.assert_allclose(out, expected, rtol=0, atol=50 * eps)
    grams = np.full((3, 5, 6), 9.0, dtype)[:, :, :5]
    cublas.partial_grams(Array(grams), Array(A))
    for c, gram in enumerate(grams):
        of_part = A[4 * c : 4 * c + 4]
        np.testing.assert_allclose(
            np.tril(gram), np.tril(of_part.T @ of_part), rtol=0, atol=50 * eps
        )
        assert gram[0, 4] == 9.0  # a block above the diagonal is not computed


def test_factors_are_solved_for_columns(library: ctypes.CDLL) -> None:
    square = RNG.standard_normal((4, 4))
    system = square @ square.T + np.eye(4)
    L, B = matrix(4, 4, "float64", 3), matrix(4, 6, "float64", 1)
    L[...] = np.linalg.cholesky(system) + np.triu(np.full((4, 4), 5.0), 1)  # this part is not read
    expected = np.linalg.solve(system, B)
    make(library).cholesky_solve_columns(Array(B), Array(L))
    np.testing.assert_allclose(B, expected, atol=1e-12)


def test_a_status_is_raised_and_modes_come_back(library: ctypes.CDLL) -> None:
    cublas, count = make(library), ctypes.c_int.in_dll(library, "device_numbers")
    good = Array(np.ones((2, 2)))
    spread = Array(np.ones((2, 4))[:, ::2])
    with pytest.raises(ValueError, match="contiguous"):
        cublas.gemm(good, spread, good, 1.0, 0.0, False, False)
    cublas._call("cublasSetWorkspace_v2", None, 0)
    with pytest.raises(RuntimeError, match="cublasDgemm_v2 of cuBLAS returned status 7"):
        cublas.gemm(good, good, good, copied([1.0], "float64"), 0.0, False, False)
    cublas._call("cublasSetWorkspace_v2", cublas._workspace.data.ptr, 64)
    before = count.value
    cublas.gemm(good, good, good, 1.0, 0.0, False, False)
    assert count.value == before


def test_a_handle_is_given_back(library: ctypes.CDLL) -> None:
    gc.collect()
    live = ctypes.c_int.in_dll(library, "live")
    before = live.value
    cublas = make(library)
    assert live.value == before + 1
    del cublas
    gc.collect()
    assert live.value == before
