"""Data for tests of mini-batches."""

import numpy as np
from sklearn.datasets import load_digits

from fastbcd import one_hot
from fastbcd.layers import Conv2d, Dense

PIXELS, KINDS = 64, 4
CONVOLUTION = Conv2d((8, 8, 1), channels=6, kernel=3, stride=2)
NETWORKS = {
    "dense": {"widths": (PIXELS, 20, 15, KINDS)},
    "convolution": {
        "widths": (PIXELS, CONVOLUTION.d_out, KINDS),
        "layers": [CONVOLUTION, Dense(CONVOLUTION.d_out, KINDS)],
    },
}


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


def check_threads_change_no_bit(make, X, Y):
    """Two passes of the solver ``make(n_threads=...)`` end in the same weights on two threads."""
    one, two = (make(n_threads=n).fit(X, Y, max_iter=2).state.W[1:] for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
