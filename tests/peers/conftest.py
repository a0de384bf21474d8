"""The modules of `benchmarks/peers`, and images for them."""

import gzip
import importlib
import struct
from pathlib import Path

import numpy as np
import pytest

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Arrays are tiny here: two threads of a busy machine would wait for each other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def module(monkeypatch):
    """Modules of the folder by name, as its own files import them."""
    monkeypatch.syspath_prepend(PEERS)
    return importlib.import_module


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder like MNIST's: 400 and 100 images of 5 x 5, four classes that differ clearly."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(2)
    patterns = rng.integers(0, 200, (4, 5, 5))
    for prefix, n in (("train", 400), ("t10k", 100)):
        y = rng.integers(4, size=n).astype(np.uint8)
        X = (patterns[y] + rng.integers(0, 56, (n, 5, 5))).astype(np.uint8)
        for stem, array in (("images-idx3", X), ("labels-idx1", y)):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            content = gzip.compress(head + array.tobytes())
            (folder / f"{prefix}-{stem}-ubyte.gz").write_bytes(content)
    return folder
