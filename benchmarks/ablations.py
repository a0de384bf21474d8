"""Mini-batch BCD with one thing changed at a time: accuracy on held-out samples of MNIST.

    python benchmarks/ablations.py --mnist FOLDER [--network D1,D2,...] [--residual]
        [--passes K] [--seeds N] [--only GROUP ...]

Trains on the first 50,000 training samples and measures on the last 10,000; the test set is
not read. It prints a Markdown table: medians over seeds after each of the first passes and at the
end, and the training accuracy. A line names the parameters that differ from the defaults.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count, widths
from mnist import Samples, without_test_set

from fastbcd import MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.callbacks import Accuracy
from fastbcd.solvers.mini_batch.batches import Samples as Batch
from fastbcd.solvers.mini_batch.rms_scaling import RMSScaling
from fastbcd.solvers.mini_batch.state import MiniBatchState


class TwoSweeps(MiniBatchThreeSplitting):
    """Takes every batch twice in a row."""

    def _learn(self, state: MiniBatchState, samples: Batch, numbers: Any) -> None:
        super()._learn(state, samples, numbers)
        state.batches -= 1  # the schedule counts batches
        super()._learn(state, samples, numbers)


class Unscaled(MiniBatchThreeSplitting):
    """Keeps the size that the blocks give to the updates."""

    def _learn(self, state: MiniBatchState, samples: Batch, numbers: Any) -> None:
        ones = np.ones(self.problem.n_layers + 1)
        with patch.object(RMSScaling, "scale", lambda scaling: ones):
            super()._learn(state, samples, numbers)


# Small batches and few passes, for the metric of the outputs.
FAST = {"batch_size": 125, "step_size": 0.2, "damping": 2.0, "weight_decay": 0.005}
GROUPS: dict[str, list[dict[str, Any]]] = {
    "default": [{}],
    "metric": [{"rank": rank} for rank in (0, 1, 4, 64)],
    "damping": [{"damping": value} for value in (1.0, 2.0, 10.0, 20.0)],
    "displacement": [{"displacement": value} for value in (1e-5, 1e-4, 1e-2, 1e-1, 1.0)],
    "scaling of displacements": [{"scaling": "none"}, {"scaling": "none", "rho": 1.0}],
    "rho": [{"rho": value} for value in (0.05, 1.0, 100.0)],
    "momentum": [{"momentum": value} for value in (0.0, 0.8, 0.95)],
    "step size, times the default": [{"step": value} for value in (0.25, 0.5, 2.0)],
    "weight decay": [{"weight_decay": value} for value in (0.0, 0.005, 0.05)],
    "average": [{"average": value} for value in (0.0, 0.9, 0.995)],
    "schedule": [{"schedule": "linear"}, {"schedule": "constant"}],
    "sweeps": [{"sweeps": 2}],
    "batch size": [{"batch_size": m} for m in (125, 250, 1000, 2000, 5000, 10000, 50000)],
    "loss": [{"loss": "cross_entropy"}],
    "activation": [{"activation": name} for name in ("tanh", "softplus", "sigmoid")],
    "dtype": [{"dtype": "float64"}],
    "output metric": [
        FAST,
        *({**FAST, "output_rank": rank} for rank in (4, 16, 64)),
        {**FAST, "output_rank": 16, "rank": 64},
        {**FAST, "output_rank": 16, "schedule": "linear"},
        {**FAST, "output_rank": 16, "damping": 5.0},
        {**FAST, "output_rank": 16, "weight_decay": 0.02},
        {**FAST, "output_rank": 16, "batch_size": 64, "step_size": 0.12},
        {**FAST, "output_rank": 16, "batch_size": 250, "step_size": 0.4},
        {**FAST, "output_rank": 16, "batch_size": 500, "step_size": 0.8},
    ],
}
OF_PROBLEM = ("loss", "activation")


def main() -> None:
    """Print the table."""
    parser = Parser("benchmarks/ablations.py", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", required=True, help="MNIST's IDX files")
    parser.add_argument("--network", type=widths, default=(500, 500), metavar="D1,D2,...")
    parser.add_argument("--residual", action="store_true", help="residual hidden layers")
    parser.add_argument("--passes", type=count, default=3, metavar="K", help="default: 3")
    parser.add_argument("--seeds", type=count, default=1, metavar="N", help="default: 1")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    options = parser.parse_args()
    samples = without_test_set(parser.samples(options.mnist))
    shown = list(dict.fromkeys([*[*range(1, options.passes)][:3], options.passes]))
    print("| changed | " + " | ".join(f"after {k}" for k in shown) + " | training |")
    print("|---|" + "---|" * (len(shown) + 1))
    for group in options.only:
        for change in GROUPS[group]:
            print(line(samples, options, change, shown), flush=True)


def line(samples: Samples, options: argparse.Namespace, change: dict[str, Any], shown: Any) -> str:
    """One line of the table."""
    name = ", ".join(f"{key} {value}" for key, value in change.items()) or "nothing"
    try:
        runs = [run(samples, options, dict(change), seed) for seed in range(options.seeds)]
    except FloatingPointError:
        return f"| {name} | " + "diverges | " * (len(shown) + 1)
    columns = [[history[k - 1]["test_accuracy"] for history in runs] for k in shown]
    columns.append([history[-1]["train_accuracy"] for history in runs])
    return f"| {name} | " + " | ".join(f"{100 * statistics.median(c):.2f}" for c in columns) + " |"


def run(
    samples: Samples, options: argparse.Namespace, change: dict[str, Any], seed: int
) -> list[dict[str, Any]]:
    """History of one run."""
    of_problem = {key: change.pop(key) for key in OF_PROBLEM if key in change}
    problem = Problem(
        (samples.X.shape[1], *options.network, samples.n_classes),
        residual=options.residual,
        **of_problem,
    )
    kind = TwoSweeps if change.pop("sweeps", 1) == 2 else MiniBatchThreeSplitting
    kind = Unscaled if change.pop("scaling", "") == "none" else kind
    factor = change.pop("step", 1.0)
    solver = kind(problem, **change)
    solver.step_size = factor * solver.settings(len(samples.X)).step_size
    callbacks = [
        Accuracy("train", samples.X[:10000], samples.y[:10000], options.passes),
        Accuracy("test", samples.X_test, samples.y_test),
    ]
    result = solver.fit(
        samples.X,
        one_hot(samples.y, samples.n_classes),
        max_iter=options.passes,
        seed=seed,
        callbacks=callbacks,
    )
    return result.history


if __name__ == "__main__":
    main()
