"""The hash of the data is the same on any number of ranks, and differs for any other data."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rank_threads import on_ranks

from fastbcd.checkpoints import fingerprint as module
from fastbcd.checkpoints.fingerprint import fingerprint
from fastbcd.devices import CPU

RNG = np.random.default_rng(0)
X = RNG.standard_normal((53, 3)).astype(np.float32)
Y = RNG.integers(2, size=(53, 2)).astype(np.float64)


def of(X, Y):
    return fingerprint(CPU(1), SimpleNamespace(X=X, Y=Y))


def spread(X, Y, ends):
    """That of all ranks, whose shares end at `ends`."""
    shares = [slice(*pair) for pair in itertools.pairwise([0, *ends])]

    def body(ranks):
        device = CPU(1)
        device.ranks = ranks
        rows = shares[ranks.rank]
        return fingerprint(device, SimpleNamespace(X=X[rows], Y=Y[rows]))

    found = set(on_ranks(len(ends), body))
    assert len(found) == 1
    return found.pop()


@pytest.fixture(params=[1, 60, 200, 2**16])
def block(request, monkeypatch):
    """Blocks of one row, of some rows, of more than there are."""
    monkeypatch.setattr(module, "BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_it_does_not_depend_on_how_samples_are_spread_over_ranks():
    whole = of(X, Y)
    uneven = [[1, 2, 3, 53], [0, 0, 53], [53, 53, 53], [6, 6, 7, 20, 40, 53], [20, 40, 53]]
    drawn = [[*np.sort(RNG.integers(54, size=k)), 53] for k in (1, 2, 3, 5, 7) for _ in range(3)]
    for ends in uneven + drawn:
        assert spread(X, Y, ends) == whole


@pytest.mark.usefixtures("block")
def test_it_depends_on_every_bit_and_on_the_order_of_samples():
    found = {of(X, Y)}
    changed = []
    for row in range(len(X)):
        other = X.copy()
        other[row, row % 3] = np.nextafter(other[row, row % 3], 9)
        changed.append((other, Y))
        changed.append((X, np.where(np.arange(53)[:, None] == row, 1 - Y, Y)))
    for first, second in itertools.combinations([0, 1, 7, 8, 30, 52], 2):
        order = np.arange(53)
        order[[first, second]] = second, first
        changed.append((X[order], Y))
    changed += [(X[:-1], Y[:-1]), (np.r_[X, X[:1]], np.r_[Y, Y[:1]]), (X, Y.astype(np.float32))]
    changed += [(X.view(np.int32), Y), (X[:, ::-1], Y), (np.roll(X, 1, axis=0), Y)]
    # A zero more or less is no other number, but other data.
    changed += [(np.r_[X, 0 * X[:1]], np.r_[Y, 0 * Y[:1]])]
    for inputs, targets in changed:
        found.add(of(inputs, targets))
    assert len(found) == 1 + len(changed)
    assert spread(*changed[20], [20, 30, 53]) == of(*changed[20])


def test_a_memory_mapped_file_has_the_fingerprint_of_its_content(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert of(mapped, Y) == of(X, Y) == of(np.asfortranarray(X), Y)


def test_a_gigabyte_takes_seconds():
    """64 MB of wide rows and of narrow ones, at 100 MB/s even on a busy machine."""
    for width in (784, 4):
        rows = np.ones((2**24 // width, width), np.float32)
        start = time.process_time()
        of(rows, Y)
        assert time.process_time() - start < 0.64
