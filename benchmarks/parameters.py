"""The pictures of docs/choosing.md: effects of gamma, alpha, ridge, batch and step size on digits.

    python benchmarks/parameters.py [--out DIR] [--only NAME ...] [--format svg|png]

Network 64-128-128-10, ReLU, squared loss, seeds 0, 1, 2; a picture varies one parameter, and the
others have their defaults. Trains on four fifths of the digits' training part and validates on the
rest; the test set is not read. One thread; the same numbers, and the same files, every time on one
machine. Takes two minutes. Lines are medians over the seeds; the last point of each goes to
standard output, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Accuracy, Callback, Objective
from fastbcd.data import Preprocessing, load
from fastbcd.training.loop import network_of

WIDTHS, SEEDS, THREADS = (64, 128, 128, 10), (0, 1, 2), 1
ITERATIONS, PASSES = 200, 30
RIDGE = "ridge:3e-4"  # the command line's default
# Okabe and Ito's colours, from small to large values.
COLOURS = ("#56B4E9", "#0072B2", "#000000", "#E69F00", "#D55E00")
STYLES = ((0, (1, 1)), (0, (4, 1)), "-", (0, (4, 1)), (0, (1, 1)))
COLUMNS = {
    "objective": "objective F",
    "loss": "training loss of the network",
    "validation_accuracy": "validation accuracy",
}
MakeSolver = Callable[[Any], Any]


class Figure(NamedTuple):
    """One picture: a parameter, its five values with the default in the middle, its solver.

    F of mini-batches without a penalty is the loss, so their pictures have no panel for it.
    """

    label: str
    values: tuple[Any, ...]
    solver: MakeSolver
    iterations: int = ITERATIONS
    columns: tuple[str, ...] = tuple(COLUMNS)


class Loss(Callback):
    """Adds ``loss``: mean over training samples of the loss of the network's outputs."""

    def __init__(self, X: Any, Y: Any) -> None:
        self.X, self.Y = X, Y

    def on_iteration(self, solver: Any, state: Any, record: dict[str, Any]) -> None:
        outputs = network_of(solver, state).forward(self.X, THREADS)
        record["loss"] = 0.5 * np.square(outputs - self.Y).sum(axis=1).mean()


def full(alpha: float = 1e-3, ridge: str = RIDGE, gamma: float = 1.0) -> ThreeSplitting:
    """Three-splitting with the command line's defaults."""
    problem = Problem(WIDTHS, gamma=gamma, weight_penalty=ridge)
    return ThreeSplitting(problem, alpha=alpha, n_threads=THREADS)


def mini(**given: Any) -> MiniBatchThreeSplitting:
    """Mini-batches with the settings of the rules."""
    return MiniBatchThreeSplitting(Problem(WIDTHS), n_threads=THREADS, **given)


FIGURES = {
    "gamma": Figure("gamma", (0.01, 0.1, 1.0, 10.0, 100.0), lambda v: full(gamma=v)),
    "alpha": Figure("alpha", (0.0, 1e-4, 1e-3, 1e-2, 1e-1), lambda v: full(alpha=v)),
    "ridge": Figure("ridge", (0.0, 3e-5, 3e-4, 3e-3, 3e-2), lambda v: full(ridge=f"ridge:{v}")),
    "batch-size": Figure(
        "batch size",
        (7, 14, 28, 112, 448),
        lambda v: mini(batch_size=v),
        iterations=PASSES,
        columns=tuple(COLUMNS)[1:],
    ),
    "step-size": Figure(
        "step size\nover the rule's",
        (1 / 16, 1 / 4, 1, 4, 16),
        lambda v: mini(step_size=v * mini().settings(len(DATA[0])).step_size),
        iterations=PASSES,
        columns=tuple(COLUMNS)[1:],
    ),
}


def read() -> tuple[Any, ...]:
    """X and labels to train on, X and labels to validate on."""
    dataset = load(None, target=None, target_required=False, test_fraction=0.2)
    X = Preprocessing.fit(dataset.X_train)(dataset.X_train, np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    train, valid = np.split(order, [4 * len(X) // 5])
    return X[train], dataset.y_train[train], X[valid], dataset.y_train[valid]


DATA = read()


def curves(solver: Any, iterations: int) -> dict[str, Any]:
    """Median over seeds of each column, one number an iteration."""
    X, y, X_valid, y_valid = DATA
    Y, runs = one_hot(y), []
    for seed in SEEDS:
        callbacks = [Objective(), Loss(X, Y), Accuracy("validation", X_valid, y_valid)]
        history = solver.fit(X, Y, max_iter=iterations, seed=seed, callbacks=callbacks).history
        runs.append([[record[name] for record in history] for name in COLUMNS])
    return dict(zip(COLUMNS, np.median(runs, axis=0), strict=True))


def draw(figure: Figure, path: Path) -> None:
    """One row of panels, a line a value; the numbers at the end to standard output."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    # No time, no random names: the same picture is the same file.
    pyplot.rcParams.update({"svg.hashsalt": "fastbcd", "font.size": 11, "path.simplify": True})
    n_panels = len(figure.columns)
    panels, axes = pyplot.subplots(
        1, n_panels, figsize=(1.5 + 3 * n_panels, 3.6), layout="constrained"
    )
    # Points that lie alike on a logarithmic axis.
    shown = np.unique(np.geomspace(1, figure.iterations, 28).round().astype(int))
    for value, colour, style in zip(figure.values, COLOURS, STYLES, strict=True):
        lines = curves(figure.solver(value), figure.iterations)
        print(f"{path.stem} {value:g}", *(f"{lines[name][-1]:.4g}" for name in COLUMNS), sep="\t")
        for axis, name in zip(axes, figure.columns, strict=True):
            points = lines[name][shown - 1]
            axis.plot(shown, points, color=colour, linestyle=style, label=f"{value:g}")
    for axis, name in zip(axes, figure.columns, strict=True):
        axis.set(xscale="log", xlabel="passes over the data")
        axis.set_title(COLUMNS[name], fontsize=11)
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        if name != "validation_accuracy":
            axis.set_yscale("log")
            axis.yaxis.set_minor_locator(NullLocator())
        else:
            axis.set_ylim(0.8, 1.0)
    panels.legend(
        *axes[0].get_legend_handles_labels(), title=figure.label, loc="outside right center",
        frameon=False, handlelength=3,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    panels.savefig(path, metadata=about, facecolor="white", dpi=110)
    pyplot.close(panels)


def main() -> None:
    """Draw the pictures that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", metavar="DIR", default="docs/images", help="for the pictures")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES, help="some of them")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    options = parser.parse_args()
    print("value", *COLUMNS, sep="\t")
    for name in options.only:
        draw(FIGURES[name], Path(options.out) / f"{name}.{options.format}")


if __name__ == "__main__":
    main()
