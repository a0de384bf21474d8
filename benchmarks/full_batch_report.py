"""Table and picture of the runs that `full_batch.py` wrote.

    python benchmarks/full_batch_report.py runs.csv [--picture docs/images/acceleration.svg]

The first table has, for each kind of run, F and accuracy after 10, 50, 100 and 150 iterations:
medians over seeds, accuracies with their range. The second compares accelerated runs with the plain
ones of the same seed: the iterations that they need to the plain run's F after 50, 100 and 200
iterations, and how many times fewer iterations and seconds these are. The picture shows F and
accuracy over iterations and over seconds.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

MARKS = (10, 50, 100, 150)
COLOURS = {"two": "#0072B2", "three": "#D55E00"}
STYLES = {"nesterov": "-", "none": (0, (4, 1.5))}
NAMES = {
    ("two", "nesterov"): "two-splitting, accelerated",
    ("two", "none"): "two-splitting, plain",
    ("three", "nesterov"): "three-splitting, accelerated",
    ("three", "none"): "three-splitting, plain",
}
Run = list[dict[str, str]]
Kind = tuple[str, ...]


def read(path: Path) -> dict[Kind, dict[str, Run]]:
    """Return the lines of each run, by kind and seed."""
    runs: dict[Kind, dict[str, Run]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            kind = tuple(row[name] for name in ("algorithm", "hidden", "residual", "gamma"))
            runs[(*kind, row["acceleration"])][row["seed"]].append(row)
    return runs


def values(run: Run, name: str) -> np.ndarray:
    """Return a column, with NaN where nothing was measured."""
    return np.array([float(row[name] or "nan") for row in run])


def at(runs: dict[str, Run], name: str, k: int) -> list[float]:
    """Return the column of all seeds in iteration k, of the runs that are as long."""
    return [values(run, name)[k - 1] for run in runs.values() if len(run) >= k]


def table(runs: dict[Kind, dict[str, Run]]) -> None:
    """Print a line for each kind of run, then the gains in iterations and seconds."""
    print("| run | seeds | restarts |", *(f"F, accuracy after {k} |" for k in MARKS))
    print("|---" * (3 + len(MARKS)) + "|")
    for kind, seeds in sorted(runs.items()):
        cells = []
        for k in MARKS:
            F, accuracy = at(seeds, "objective", k), [100 * a for a in at(seeds, "accuracy", k)]
            if not F:
                cells.append("")
                continue
            spread = f" ({min(accuracy):.2f} to {max(accuracy):.2f})" if len(F) > 1 else ""
            cells.append(f"{np.median(F):.4f}, {np.median(accuracy):.2f}{spread}")
        restarts = sorted({run[-1]["restarts"] for run in seeds.values()})
        print("|", " ".join(kind), "|", len(seeds), "|", ", ".join(restarts), "|",
              " | ".join(cells), "|")  # fmt: skip
    print("\n| to the plain run's F after | iterations | times fewer | seconds, times fewer |")
    print("|---|---|---|---|")
    for kind, seeds in sorted(runs.items()):
        plain = runs.get((*kind[:-1], "none"), {})
        for k in (50, 100, 200):
            gains = [
                gain(seeds[s], plain[s], k) for s in seeds if s in plain and len(plain[s]) >= k
            ]
            if kind[-1] != "none" and gains and all(gains):
                n, fewer, faster = np.median([g for g in gains if g], axis=0)
                print(f"| {' '.join(kind[:-1])}, {k} | {n:.0f} | {fewer:.2f} | {faster:.2f} |")


def gain(fast: Run, plain: Run, k: int) -> tuple[float, float, float] | None:
    """Return iterations to the plain F of iteration k, and the ratios of iterations and seconds."""
    reached = np.flatnonzero(values(fast, "objective") <= values(plain, "objective")[k - 1])
    if len(reached) == 0:
        return None
    n = int(reached[0]) + 1
    seconds = values(plain, "seconds")[k - 1] / values(fast, "seconds")[n - 1]
    return n, k / n, seconds


def draw(runs: dict[Kind, dict[str, Run]], hidden: str, path: Path) -> None:
    """Draw medians over seeds: F and accuracy, over iterations and over seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"svg.hashsalt": "fastbcd", "font.size": 11})
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6.4), layout="constrained", sharey="row")
    for kind, seeds in sorted(runs.items()):
        algorithm, width, residual, _, acceleration = kind
        if width != hidden or residual == "True":
            continue
        look: dict[str, Any] = {
            "color": COLOURS[algorithm],
            "linestyle": STYLES[acceleration],
            "label": NAMES[algorithm, acceleration],
        }
        n = min(map(len, seeds.values()))
        F, accuracy, seconds = (
            np.median([values(run, name)[:n] for run in seeds.values()], axis=0)
            for name in ("objective", "accuracy", "seconds")
        )
        known = np.isfinite(accuracy)
        for column, x in enumerate((np.arange(1, n + 1), seconds)):
            axes[0, column].plot(x, F, **look)
            axes[1, column].plot(x[known], 100 * accuracy[known], **look)
    axes[0, 0].set(ylabel="objective F", yscale="log")
    axes[1, 0].set(ylabel="test accuracy, %", xlabel="iterations")
    axes[1, 1].set_xlabel("seconds")
    for axis in axes.flat:
        axis.set_xscale("log")
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
    )
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor="white")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--hidden", default="256x2", help="network of the picture")
    options = parser.parse_args()
    runs = read(options.runs)
    table(runs)
    if options.picture is not None:
        draw(runs, options.hidden, options.picture)


if __name__ == "__main__":
    main()
