"""The promises about speed, measured now: ratios and counts, no wall time.

    python benchmarks/gates.py --mnist FOLDER [--only NAME ...]

It prints a Markdown table and ends with status 1 if a limit is missed. It takes a quarter of an
hour on two cores, and needs PyTorch for the comparison with the published procedure.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from suite.floor import Floor, irreducible_calls
from suite.growth import relative_cost
from suite.images import NETWORKS as IMAGES
from suite.images import ImageIteration, ImagePass
from suite.images import peak_ratio as peak_ratio_of_images
from suite.iteration import ratio_of_pass
from suite.kernels import Preactivation, speedup_over_numpy
from suite.measure import paired_ratio, seconds
from suite.memory import peak_ratio
from suite.start import first_fit_seconds, import_seconds

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
)
from fastbcd.data import load

NETWORKS = {
    "784-1500x3-10": ((784, 1500, 1500, 1500, 10), 5.0),
    "784-600x10-10": ((784, *[600] * 10, 10), 1.0),
}
Row = tuple[str, float, str, float]
"""Name, figure, "<=" or ">=", limit."""


class Data:
    """MNIST with inputs in [0, 1], read when it is first needed."""

    def __init__(self, folder: str | None) -> None:
        self._folder = folder

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        """X (60000, 784) float32 and one-hot Y."""
        if self._folder is None:
            raise SystemExit("gates: --mnist FOLDER is needed for the iteration (see --help)")
        samples = load(self._folder)
        return samples.X_train.astype(np.float32) / 255, one_hot(samples.y_train.astype(int), 10)


def iteration(data: Data) -> Iterator[Row]:
    """Iterations of the published setting against their floor and the published procedure."""
    X, Y = data()
    for name, (widths, alpha) in NETWORKS.items():
        solver = ThreeSplitting(Problem(widths, reduction="sum"), alpha=alpha)
        state = solver.init(X, Y, seed=40, init="normal:0.01", bias=0.1)
        objectives = [solver.objective(solver.step(state))]

        def step(solver=solver, state=state) -> None:
            solver.step(state)

        floor = Floor(irreducible_calls(widths, len(X)))
        ratio = paired_ratio(step, floor.seconds)
        objectives.append(solver.objective(state))
        yield f"{name}: iteration / sum of its BLAS calls", ratio, "<=", 1.15
        yield f"{name}: objective, last / first iteration", objectives[1] / objectives[0], "<=", 1.0

        updates = _published_seconds(widths, alpha, X, Y, solver.device.n_threads)
        own, least = seconds(step, 1), floor.seconds()
        yield f"{name}: iteration / published procedure's updates", own / updates, "<=", 0.25
        yield f"{name}: its BLAS calls / published procedure's updates", least / updates, "<=", 1.0


def acceleration(data: Data) -> Iterator[Row]:
    """Accelerated iterations against plain ones, alternating."""
    X, Y = data()
    networks = {name: widths for name, (widths, _) in NETWORKS.items()}
    networks["784-512x2-10"] = (784, 512, 512, 10)
    for algorithm, names in (
        (ThreeSplitting, list(networks)),
        (TwoSplitting, ["784-512x2-10"]),
    ):
        for name in names:
            plain, fast = (
                _stepper(algorithm, networks[name], X, Y, of) for of in (None, "nesterov")
            )
            ratio = paired_ratio(fast, lambda plain=plain: seconds(plain, 1), repeat=5)
            what = f"{name}, {algorithm.__name__}: accelerated / plain iteration"
            yield what, ratio, "<=", 1.15


def _stepper(
    algorithm: type, widths: tuple[int, ...], X: np.ndarray, Y: np.ndarray, acceleration: str | None
) -> Callable[[], object]:
    """A function that does one more iteration, after three."""
    solver = algorithm(Problem(widths, weight_penalty="ridge:3e-4"), acceleration=acceleration)
    state = solver.init(X, Y)
    for _ in range(3):
        solver.step(state)
    return lambda: solver.step(state)


def mini_batches(data: Data) -> Iterator[Row]:
    """A pass in batches of 500 against its floor."""
    X, Y = data()
    for hidden in ([500, 500], [1500] * 3, [600] * 10):
        solver = MiniBatchThreeSplitting(Problem((784, *hidden, 10)), schedule="constant")
        ratio = ratio_of_pass(solver, solver.step(solver.init(X, Y)))
        name = f"{hidden[0]}x{len(hidden)}"
        yield f"784-{name}-10, batches of 500: pass / sum of its BLAS calls", ratio, "<=", 1.3


def images(data: Data) -> Iterator[Row]:
    """Networks of convolutions: time against their own products, and peak memory."""
    for kind, unit in ((ImageIteration, "iteration"), (ImagePass, "pass in batches of 100")):
        for network in IMAGES:
            case = kind()
            case.setup(network)
            ratio = case.track_ratio_to_floor(network)
            what = f"convolutions, {network}: {unit} / sum of its products as BLAS calls"
            yield what, ratio, "<=", 1.3
    for network, acceleration in itertools.product(IMAGES, ("none", "nesterov")):
        what = f"convolutions, {network}, acceleration {acceleration}: peak memory / states"
        yield what, peak_ratio_of_images(network, acceleration), "<=", 1.5


def _published_seconds(
    widths: tuple[int, ...], alpha: float, X: np.ndarray, Y: np.ndarray, n_threads: int
) -> float:
    """Block updates of the second iteration, without monitoring."""
    sys.path.append(str(Path(__file__).parent / "peers"))
    import torch
    from published import PublishedBCD

    torch.set_num_threads(n_threads)
    published = PublishedBCD(widths, alpha=alpha)
    X, Y = torch.from_numpy(X.T.copy()), torch.from_numpy(Y.T.astype(np.float32).copy())
    blocks = published.start(X)
    published.iterate(blocks, Y)
    return seconds(lambda: published.iterate(blocks, Y), 1)


def kernels(data: Data) -> Iterator[Row]:
    """Elementwise kernels on one thread."""
    case = Preactivation()
    for activation in ("relu", "leaky_relu"):
        case.setup(activation, "float32")
        share = case.track_share_of_copy_bandwidth(activation, "float32")
        yield f"{activation} kernel: share of copy bandwidth", share, ">=", 0.8
    for activation in ("sigmoid", "tanh"):
        for dtype in ("float32", "float64"):
            factor = speedup_over_numpy(activation, dtype)
            yield f"{activation} kernel, {dtype}: times NumPy's Newton steps", factor, ">=", 1.0


def memory(data: Data) -> Iterator[Row]:
    """Peak memory, interpreter included."""
    for name, (widths, _) in NETWORKS.items():
        whole, added = peak_ratio(widths, 60_000)
        yield f"{name}: peak memory of the process / bytes of X, Y, V, U", whole, "<=", 1.15
        yield f"{name}: the same without the interpreter", added, "<=", 1.15
        whole, added = peak_ratio(widths, 60_000, "nesterov")
        yield f"{name}: accelerated, peak memory / bytes of X, Y, V, U", whole, "<=", 1.6
        yield f"{name}: accelerated, the same without the interpreter", added, "<=", 1.6


def growth(data: Data) -> Iterator[Row]:
    """Time per flop of a larger problem over that of a smaller one: 1 is linear."""
    three, five, twenty = ((600, *[600] * depth, 10) for depth in (3, 5, 20))
    samples = relative_cost((three, 15_000), (three, 60_000))
    yield "time per sample, 60,000 / 15,000 samples", samples, "<=", 1.1
    depth = relative_cost((five, 8000), (twenty, 8000))
    yield "time per flop, 20 / 5 layers", depth, "<=", 1.1


def start(data: Data) -> Iterator[Row]:
    """Seconds that a user waits before the first iteration; other gates are ratios or counts."""
    yield "import fastbcd, s", import_seconds(), "<=", 0.45
    cold, warm = first_fit_seconds()
    yield "first fit of a process over its second, cold cache, s", cold, "<=", 10.0
    yield "first fit of a process over its second, warm cache, s", warm, "<=", 1.0


GATES = {
    f.__name__: f
    for f in (kernels, start, memory, growth, iteration, acceleration, mini_batches, images)
}


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's four IDX files")
    parser.add_argument("--only", nargs="+", choices=list(GATES), default=list(GATES))
    options = parser.parse_args()
    data, missed = Data(options.mnist), 0
    print("| what | measured | limit | |\n|---|---|---|---|")
    try:
        for name in options.only:
            for what, figure, relation, limit in GATES[name](data):
                held = figure <= limit if relation == "<=" else figure >= limit
                missed += not held
                verdict = "" if held else "**missed**"
                print(f"| {what} | {figure:.3g} | {relation} {limit:g} | {verdict} |", flush=True)
    except InputError as error:
        parser.error(f"--mnist: {error}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
