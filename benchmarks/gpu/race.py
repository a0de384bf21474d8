"""Seconds to an accuracy on MNIST: mini-batches of this package against Adam and Muon.

Products of all three are made in TF32, ours also in float32. Each method is tuned for each mark by
itself: every trial trains on 50,000 samples, and the setting whose accuracy on the other 10,000
training samples reaches the mark soonest wins. Then the winners train on all 60,000 samples with
five seeds, and the table has medians of seconds until the accuracy on the test set reaches the
mark. All have the same number of trials. A first run of each method compiles its kernels off the
clock; capturing CUDA graphs is on it. The clock stops while accuracies are computed, at the end of
each pass.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import Results, mnist

MARKS = (0.975, 0.98, 0.985)
HELD_OUT, SEEDS = 10_000, 5


def settings() -> dict[str, list[dict[str, Any]]]:
    """Eighteen trials of each method."""
    return {
        "fastbcd": [
            {"batch_size": batch, "scale": scale, "passes": passes, "precision": "tf32"}
            for batch, scale, passes in itertools.product((250, 500, 1000), (1.0, 1.5), (2, 4, 8))
        ],
        "fastbcd, float32": [
            {"batch_size": batch, "scale": scale, "passes": passes, "precision": "float32"}
            for batch, scale, passes in itertools.product((250, 500, 1000), (1.0, 1.5), (2, 4, 8))
        ],
        "adam": [
            {"batch": batch, "rate": rate, "passes": passes}
            for batch, rate, passes in itertools.product((128, 256, 512), (2e-3, 5e-3), (3, 6, 12))
        ],
        "muon": [
            {"batch": batch, "rate": rate, "passes": passes}
            for batch, rate, passes in itertools.product((128, 256, 512), (0.02, 0.05), (2, 4, 8))
        ],
    }


class Ours:
    """`MiniBatchThreeSplitting`, cross entropy, with a multiple of its usual step size."""

    def __init__(self, X: Any, y: Any, setting: dict[str, Any], seed: int) -> None:
        from fastbcd import Problem
        from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

        problem = Problem((784, 500, 500, 10), loss="cross_entropy")
        options: dict[str, Any] = {
            **{name: setting[name] for name in ("batch_size", "precision")},
            "device": "cuda",
        }
        usual = MiniBatchThreeSplitting(problem, **options).settings(len(X)).step_size
        options["step_size"] = setting["scale"] * usual
        self.solver = MiniBatchThreeSplitting(problem, **options)
        Y = np.eye(10, dtype=np.float32)[y]
        self.state = self.solver.init(X, Y, seed=seed, passes=setting["passes"])

    def one_pass(self) -> None:
        """A pass; its end waits for the card."""
        self.solver.step(self.state)

    def accuracy(self, X: Any, y: Any) -> float:
        """Share of right answers."""
        from fastbcd.training.loop import network_of

        outputs = network_of(self.solver, self.state).forward(X)
        return float((outputs.argmax(1) == y).mean())


class Theirs:
    """Adam or Muon; see `rivals`."""

    def __init__(self, X: Any, y: Any, setting: dict[str, Any], seed: int, name: str) -> None:
        import torch
        from rivals import Setting, Training

        torch.backends.cuda.matmul.allow_tf32 = True
        self._torch = torch
        of = Setting(name, setting["rate"], setting["batch"], setting["passes"])
        self._training = Training(
            torch.from_numpy(X).cuda(), torch.from_numpy(y).cuda(), of, 1, seed
        )
        self.one_pass = self._training.one_pass

    def accuracy(self, X: Any, y: Any) -> float:
        """Share of right answers."""
        tensors = (self._torch.from_numpy(array).cuda() for array in (X, y))
        return self._training.accuracy(*tensors)


def make(name: str, X: Any, y: Any, setting: dict[str, Any], seed: int) -> Any:
    """A training run of the method called `name`."""
    if name.startswith("fastbcd"):
        return Ours(X, y, setting, seed)
    return Theirs(X, y, setting, seed, name)


def run(
    name: str, train: Any, held_out: Any, setting: dict[str, Any], seed: int, until: float = 2.0
) -> list[tuple[float, float]]:
    """Seconds of training and accuracy after each pass, until it is `until`."""
    training, seconds, records = make(name, *train, setting, seed), 0.0, []
    for _ in range(setting["passes"]):
        begin = time.perf_counter()
        training.one_pass()
        seconds += time.perf_counter() - begin
        records.append((seconds, training.accuracy(*held_out)))
        if records[-1][1] >= until:
            break
    return records


def time_to(records: list[tuple[float, float]], mark: float) -> float:
    """Seconds until the first pass that ends at `mark` or above; infinite where none does."""
    return next((seconds for seconds, accuracy in records if accuracy >= mark), math.inf)


def main(out: str, folder: str) -> int:
    """Tune, race, write."""
    results, data = Results(Path(out)), mnist(folder)
    train = data["X"][:-HELD_OUT], data["y"][:-HELD_OUT]
    held_out = data["X"][-HELD_OUT:], data["y"][-HELD_OUT:]
    everything, test = (data["X"], data["y"]), (data["X_test"], data["y_test"])
    for name, trials in settings().items():
        run(name, train, held_out, {**trials[0], "passes": 1}, 0)  # compiles
        tried = [(setting, run(name, train, held_out, setting, 0)) for setting in trials]
        results[f"{name}, trials"] = [[json.dumps(s), records] for s, records in tried]
        for mark in MARKS:
            soonest = min(tried, key=lambda trial: time_to(trial[1], mark))
            if time_to(soonest[1], mark) == math.inf:
                results[f"{name}, {mark:.1%}"] = "no trial reached it"
                continue
            runs = [run(name, everything, test, soonest[0], seed, mark) for seed in range(SEEDS)]
            times = [time_to(records, mark) for records in runs]
            results[f"{name}, {mark:.1%}"] = {
                "setting": soonest[0],
                "seconds": statistics.median(times),
                "of each seed": times,
                "passes": statistics.median(len(records) for records in runs),
            }
    for name in ("adam", "muon"):
        of = results.entries.get(f"{name}, 98.0%")
        if isinstance(of, dict):
            results[f"{name}, passes of a network in a second"] = several(of["setting"], data, name)
    return 0


def several(setting: dict[str, Any], data: dict[str, Any], name: str) -> dict[str, float]:
    """How many passes of stacked networks a second has, for 1, 8 and 32 of them."""
    import torch
    from rivals import Setting, Training

    X, y = torch.from_numpy(data["X"]).cuda(), torch.from_numpy(data["y"]).cuda()
    of = Setting(name, setting["rate"], setting["batch"], 10)
    rates = {}
    for networks in (1, 8, 32):
        training = Training(X, y, of, networks)
        training.one_pass()
        begin = time.perf_counter()
        training.one_pass()
        rates[str(networks)] = networks / (time.perf_counter() - begin)
    return rates


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
