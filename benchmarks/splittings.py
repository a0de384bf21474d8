"""Two-splitting (Algorithm 1) beside three-splitting (Algorithm 2): same network, data, weights.

    python benchmarks/splittings.py [--mnist FOLDER]

For some iterations of each: seconds of training so far, the objective of the two-splitting
form (for three-splitting evaluated at its W and V, without its U), accuracy on test data.
Widths, activations and iterations are fixed here, all other parameters are the command
line's defaults. Digits take two minutes, MNIST ten.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from fastbcd import Problem, State, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.data import Preprocessing, load
from fastbcd.data.labels import encode
from fastbcd.training.loop import network_of

DIGITS = ((128, 128), ("relu", "tanh"), (10, 50, 200))
MNIST = ((512, 512), ("relu",), (5, 20))


def without_preactivations(state: State) -> State:
    """W and V of a state alone: a state of Algorithm 1."""
    return State(state.W, state.V, [None] * len(state.W), state.Y)


def rows(name: str, data: str | None, setting: tuple) -> list[list[str]]:
    """Lines of the table for one data set."""
    hidden, activations, marks = setting
    dataset = load(data, target=None, target_required=False, test_fraction=0.2)
    scale = Preprocessing.fit(dataset.X_train, "auto")
    X, X_test = scale(dataset.X_train, "float32"), scale(dataset.X_test, "float32")
    classes = np.unique(dataset.y_train)
    Y = one_hot(encode(dataset.y_train, classes, name), len(classes))
    y_test = encode(dataset.y_test, classes, name)
    table = []
    for activation in activations:
        problem = Problem(
            (X.shape[1], *hidden, len(classes)), activation, weight_penalty="ridge:3e-4"
        )
        two = TwoSplitting(problem)
        solvers = {
            "three-splitting": ThreeSplitting(problem),
            "two-splitting, 1 inner step": two,
            "two-splitting, 3 inner steps": TwoSplitting(problem, inner_steps=3),
        }
        for label, solver in solvers.items():
            solver.step(solver.init(X[:512], Y[:512]))  # compiled before the clock starts
            state, seconds, cells = solver.init(X, Y), 0.0, []
            for iteration in range(1, max(marks) + 1):
                start = time.perf_counter()
                solver.step(state)
                seconds += time.perf_counter() - start
                if iteration in marks:
                    F = two.objective(without_preactivations(state))
                    outputs = network_of(solver, state).forward(X_test)
                    accuracy = np.mean(outputs.argmax(axis=1) == y_test)
                    cells.append(f"{iteration}: {seconds:.3g} s, {F:.4g}, {accuracy:.4f}")
            table.append([name, activation, label, *cells])
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's four IDX files")
    options = parser.parse_args()
    print("| data | activation | algorithm | iterations: time, objective, test accuracy | | |")
    print("|---|---|---|---|---|---|")
    for name, data, setting in (("digits", None, DIGITS), ("MNIST", options.mnist, MNIST)):
        if name == "MNIST" and data is None:
            continue
        for row in rows(name, data, setting):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
