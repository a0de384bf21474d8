"""Shared by the measurements on a GPU: the clock, MNIST, the file of results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd import one_hot

WIDTHS, N = (784, 1500, 1500, 1500, 10), 60_000


class Timer:
    """Seconds of work on the current stream, by the card's own events.

    Parameters
    ----------
    cupy : module
        CuPy; only the measurements and the device adapter know it.
    """

    def __init__(self, cupy: Any) -> None:
        self.cupy = cupy

    def __call__(self, function: Callable[[], Any], repeat: int = 7, warm: int = 2) -> float:
        """Median of `repeat` runs, after `warm` runs that compile kernels and fill caches."""
        times = []
        for k in range(warm + repeat):
            start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
            start.record()
            function()
            end.record()
            end.synchronize()
            if k >= warm:
                times.append(self.cupy.cuda.get_elapsed_time(start, end) / 1e3)
        return statistics.median(times)


def copy_rate(cupy: Any, timer: Timer) -> float:
    """Bytes read and written in a second by a copy of a GiB."""
    source = cupy.zeros(2**28, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / timer(lambda: cupy.copyto(target, source))


def mnist(folder: str) -> dict[str, Any]:
    """MNIST: images as float32 in [0, 1], labels as int64."""
    from fastbcd.data import load

    data = load(folder)
    return {
        "X": np.ascontiguousarray(data.X_train, np.float32) / 255.0,
        "y": np.asarray(data.y_train).astype(np.int64),
        "X_test": np.ascontiguousarray(data.X_test, np.float32) / 255.0,
        "y_test": np.asarray(data.y_test).astype(np.int64),
    }


def samples(folder: str | None, n: int = N) -> tuple[Any, Any]:
    """Inputs (n, 784) and one-hot targets (n, 10): MNIST's, or random ones without a folder."""
    if folder is None:
        rng = np.random.default_rng(0)
        X, labels = rng.random((n, 784), np.float32), rng.integers(0, 10, n)
    else:
        data = mnist(folder)
        X, labels = data["X"][:n], data["y"][:n]
    return X, one_hot(labels, 10).astype(np.float32)


class Results:
    """A JSON file that is written anew after each entry, so that a run that is cut keeps them."""

    def __init__(self, path: Path) -> None:
        self._path, self.entries = path, {}

    def __setitem__(self, name: str, value: Any) -> None:
        self.entries[name] = value
        self._path.write_text(json.dumps(self.entries, indent=1, default=float) + "\n")
        print(f"{name}: {json.dumps(value, default=float)}", flush=True)
