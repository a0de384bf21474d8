"""Data for tests of mini-batches."""

import numpy as np
from sklearn.datasets import load_digits

from fastbcd import (
    one_hot,
)


def digits(n=1500):
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order] / 16, y[order]
    return X[:n], y[:n], X[n:], y[n:]


def random_data(n=300, d=12, k=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), one_hot(rng.integers(k, size=n), k)


def memory_mapped(folder, **arrays):
    out = []
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
        out.append(np.load(folder / f"{name}.npy", mmap_mode="r"))
    return out
