"""Scaling of inputs: over ranks, in blocks, and with sums that are rounded once."""

import math
import mmap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from rank_threads import on_ranks

from fastbcd import InputError
from fastbcd.data import Preprocessing
from fastbcd.data.blocks import blocks, release
from fastbcd.data.moments import moments

MIB = 2**20


def wild(n, d, dtype="float64", order="C"):
    rng = np.random.default_rng(n + d)
    X = (
        np.exp(4 * rng.standard_normal((n, d)))
        if "f" in np.dtype(dtype).kind
        else 90 * rng.random((n, d))
    )
    return np.asarray(X, dtype, order)


@pytest.mark.parametrize("n", [1, 7, 129, 20_011])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "uint8"])
def test_moments_are_rounded_once(n, dtype):
    for d, order in ((1, "C"), (2, "F"), (65, "C")):
        X = wild(n, d, dtype, order)
        mean, deviation = moments(X)
        exact = np.array([math.fsum(column) for column in X.T.astype(np.float64)]) / n
        np.testing.assert_array_equal(mean, exact)
        squares = (X.T.astype(np.float64) - exact[:, None]) ** 2
        exact = np.sqrt(np.array([math.fsum(column) for column in squares]) / n)
        np.testing.assert_array_equal(deviation, exact)


@pytest.mark.parametrize("kind", ["unit", "standard", "clipped", "none", "auto"])
@pytest.mark.parametrize("size", [2, 3, 5, 9])
def test_ranks_scale_alike_and_as_one_process_would(kind, size):
    for X in (wild(8, 3), wild(900, 40), wild(900, 1), wild(31, 4, "uint8")):
        whole = Preprocessing.fit(X, kind)
        found = on_ranks(
            size, lambda ranks, X=X: Preprocessing.fit(X[ranks.rows(len(X))], kind, ranks=ranks)
        )
        for own in found:
            np.testing.assert_array_equal(own.shift, whole.shift)
            np.testing.assert_array_equal(own.scale, whole.scale)
            assert own.limit == whole.limit


def test_weights_of_samples_count_over_ranks():
    X, weight = wild(300, 5), np.random.default_rng(0).random(300)
    whole = moments(X, weight)

    def own(ranks):
        rows = ranks.rows(300)
        return moments(X[rows], weight[rows], ranks)

    for found in on_ranks(4, own):
        np.testing.assert_array_equal(found, whole)
    # A weight of 2 is a sample that is there twice.
    np.testing.assert_array_equal(moments(X, np.full(300, 2.0)), moments(np.repeat(X, 2, axis=0)))


def test_too_large_numbers_are_refused_on_every_rank():
    X = np.array([[1.0, 1e300], [2.0, -1e300], [3.0, 1.0]])
    errors = on_ranks(2, lambda ranks: Preprocessing.fit(X[ranks.rows(3)], ranks=ranks))
    for error in errors:
        assert isinstance(error, InputError)
        assert "numbers of feature 1 are too large" in str(error)


@pytest.mark.parametrize("kind", ["standard", "unit"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_no_copy_of_all_inputs_is_made(kind, order):
    X = np.asarray(np.random.default_rng(0).random((20_000, 300)), np.float32, order)  # 23 MiB
    out = np.empty(X.shape, np.float32)
    tracemalloc.start()
    scaled = Preprocessing.fit(X, kind)(X, np.float32, out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scaled is out
    assert peak < 16 * MIB
    np.testing.assert_array_equal(out, Preprocessing.fit(X, kind)(X, np.float32))


def mapped_mib():
    """Memory of this process that is of files, MiB."""
    status = Path("/proc/self/status")
    if not status.exists() or "RssFile" not in status.read_text():
        pytest.skip("this system does not say how much memory is of files")
    line = next(line for line in status.read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_pass_over_a_file_leaves_nothing_of_it_in_memory(tmp_path, order):
    X = np.asarray(np.random.default_rng(0).random((20_000, 400)), np.float64, order)  # 61 MiB
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")[1:]
    before, highest = mapped_mib(), []
    whole = Preprocessing.fit(X[1:])
    for rows in blocks(mapped, 1000):
        mapped[rows].sum()
        highest.append(mapped_mib())
    assert max(highest) < before + (20 if order == "C" else 70)
    own = Preprocessing.fit(mapped)
    scaled = own(mapped, np.float64)
    assert mapped_mib() < before + 8
    np.testing.assert_array_equal(own.scale, whole.scale)
    np.testing.assert_array_equal(own.shift, whole.shift)
    np.testing.assert_array_equal(scaled, whole(X[1:], np.float64))


def test_what_was_written_to_a_file_outlasts_its_release(tmp_path):
    array = np.memmap(tmp_path / "a", np.float64, "w+", shape=(50_000, 20))
    X = wild(50_000, 20)
    Preprocessing(np.zeros(1), np.ones(1))(X, np.float64, out=array)
    release(array[3:7].T)
    np.testing.assert_array_equal(array, X)
    array.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a").reshape(X.shape), X)


def test_an_array_to_write_to_must_fit():
    X = np.ones((3, 2))
    for out in (np.empty((3, 3)), np.empty((3, 2), np.float32)):
        with pytest.raises(InputError, match=r"out must be \(3, 2\) of float64, got"):
            Preprocessing.fit(X)(X, np.float64, out=out)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_that_is_mapped_but_of_no_file_keeps_its_numbers(order):
    X = wild(20_000, 40, order=order)
    mapping = mmap.mmap(-1, X.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapped = np.ndarray(X.shape, X.dtype, mapping, order=order)
    mapped[...] = X
    own, whole = (Preprocessing.fit(A, "standard") for A in (mapped, X))
    np.testing.assert_array_equal(own.shift, whole.shift)
    np.testing.assert_array_equal(own(mapped, np.float64), whole(X, np.float64))
    np.testing.assert_array_equal(mapped, X)
