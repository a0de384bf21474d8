"""Every combination algorithm x activation x loss x penalty on scikit-learn's digits.

    python benchmarks/combinations.py [--dtype float32] [--acceleration nesterov] [--processes 2]
        [--losses squared hinge ...] [--out FILE.csv]

Each combination is one run: 25 iterations of 64-24-24-10 on 1,437 samples, with the defaults of the
command line (gamma 1, alpha 1e-3, mean) and He weights. A run is one line of the CSV:

- `rise`: largest rise of the objective from one iteration to the next, relative to its
  value, the objective evaluated in float64 whatever the run's type. At most 1e-7 in
  float32 and 1e-12 in float64 is required; 0 or less means that it never rose;
- `rate`: p of the fitted ``mean_{t<=T} |g^t|^2 ~ T^p``, the theorem's O(1/T) being -1; and the
  subgradient's norm in the first and in the last iteration;
- `accuracy` on the 360 test samples;
- `insufficient`: 1 if the decrease in some iteration was below the promised multiple of the
  squared step by more than rounding, else 0; `restarts`: how often the guard of the acceleration
  rejected a sweep;
- `refused`: the reason, if the theory or a formula excludes the combination.

The logistic loss has two classes, even and odd digits. Losses of numbers have one-hot rows as
targets, and 0.1 more where they must be positive. A summary in Markdown goes to standard output.
All runs take an hour, of which compilation is a large part the first time.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastbcd import InputError, Problem, State, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.solvers.acceleration import ACCELERATIONS
from fastbcd.training.certificate import ROUNDING, Certificate
from fastbcd.training.descent_log import DescentLog
from fastbcd.training.loop import network_of

ALGORITHMS = {"two-splitting": TwoSplitting, "three-splitting": ThreeSplitting}
ALGORITHMS["resnet"] = ThreeSplitting
ACTIVATIONS = ["relu", "leaky_relu:0.1", "linear", "sigmoid", "tanh", "softplus"]
ACTIVATIONS += ["polynomial:0,1,0.1"]
LOSSES = ["squared", "cross_entropy", "logistic", "logistic_ovr", "hinge", "exponential"]
LOSSES += ["cross_entropy:0.1", "absolute", "huber:0.5", "quantile:0.3", "poisson"]
LOSSES += ["gamma", "tweedie:1.5"]
WEIGHTS = ["none", "ridge:1e-3", "l1:1e-4", "elastic_net:1e-3,0.5", "nonnegative", "box:-0.5,0.5"]
STATES = ["ridge:1e-2", "l1:1e-2", "elastic_net:1e-2,0.5", "nonnegative", "box:0,1"]
PENALTIES = [("W", penalty) for penalty in WEIGHTS] + [("V", penalty) for penalty in STATES]
# Prox-linear updates are a matter of the loss: one penalty of each kind stands for the others.
UPDATES = {"prox": PENALTIES, "prox-linear": [("W", "none"), ("V", "l1:1e-2")]}
ITERATIONS = 25


@dataclass
class Run:
    """One line of the table."""

    algorithm: str
    activation: str
    loss: str
    update: str
    penalised: str
    penalty: str
    dtype: str
    acceleration: str = "none"
    rise: float | None = None
    rate: float | None = None
    first_subgradient: float | None = None
    last_subgradient: float | None = None
    smallest_decrease: float | None = None
    promised_decrease: float | None = None
    insufficient: float | None = None
    restarts: float | None = None
    accuracy: float | None = None
    refused: str = ""


def in_float64(state: State) -> State:
    """The same state in float64."""

    def converted(arrays):
        return [None if a is None else a.astype(np.float64) for a in arrays]

    W, V, U = converted(state.W), converted(state.V), converted(state.U)
    return State(W, V, U, Y=state.Y.astype(np.float64))


def add_iteration(certificate: Certificate, state: State, objective: float, squared: float) -> None:
    """Add the last iteration, with F and the squared norm of a subgradient, to `certificate`."""
    log = state.descent_log
    certificate.add(
        state.iteration,
        log.decrease,
        log.squared_step,
        objective,
        squared,
        log.squared_extrapolation,
    )


def measure(run: Run) -> Run:
    """Train and fill in the numbers."""
    X, labels = load_digits(return_X_y=True)
    if run.loss == "logistic":
        labels = labels % 2
    X_train, X_test, y_train, y_test = train_test_split(
        X / 16, labels, test_size=360, random_state=0, stratify=labels
    )
    Y = one_hot(y_train)
    penalties = {"W": "weight_penalty", "V": "state_penalty"}
    alpha = 1e-3
    try:
        problem = Problem(
            (64, 24, 24, Y.shape[1]),
            activation=run.activation,
            loss=run.loss,
            residual=run.algorithm == "resnet",
            **{penalties[run.penalised]: run.penalty},
        )
        if run.update == "prox-linear" and problem.loss.lipschitz is not None:
            # Theorem 2 asks for alpha above (L - gamma)/2, which is below 1e-3 here.
            alpha = max(alpha, 1.01 * (problem.loss.lipschitz - problem.gamma) / 2)
        if problem.loss.targets == "positive":
            Y += 0.1
        algorithm = ALGORITHMS[run.algorithm]
        solver = algorithm(
            problem,
            alpha=alpha,
            loss_update=run.update,
            acceleration=None if run.acceleration == "none" else run.acceleration,
            dtype=run.dtype,
            n_threads=1,
        )
        reference = algorithm(problem, alpha=alpha, dtype="float64", n_threads=1)
    except InputError as error:
        run.refused = str(error)
        return run
    state = solver.init(X_train, Y)
    state.descent_log = DescentLog()
    F = [reference.objective(in_float64(state))]
    accelerated = solver.acceleration is not None
    certificate = Certificate(run.dtype, solver.promised_decrease(), F[0], accelerated=accelerated)
    norms = []
    for _ in range(ITERATIONS):
        solver.step(state)
        F.append(reference.objective(in_float64(state)))
        squared = solver.squared_subgradient(state)
        norms.append(float(np.sqrt(squared)))
        add_iteration(certificate, state, F[-1], squared)
        state.descent_log.clear()
    run.rise = max((new - old) / old for old, new in itertools.pairwise(F))
    run.rate = certificate.rate
    run.first_subgradient, run.last_subgradient = norms[0], norms[-1]
    run.smallest_decrease = certificate.smallest_decrease
    run.promised_decrease = certificate.promised
    run.insufficient = int(not certificate.decreased_sufficiently)
    run.restarts = 0 if state.momentum is None else state.momentum.restarts
    outputs = network_of(solver, state).forward(X_test, 1)
    run.accuracy = float(np.mean(outputs.argmax(axis=1) == y_test))
    return run


def all_runs(dtype: str, acceleration: str, losses: list[str]) -> list[Run]:
    """Every combination with these losses, in the order of the table."""
    return [
        Run(algorithm, activation, loss, update, *penalty, dtype, acceleration)
        for algorithm in ALGORITHMS
        for activation in ACTIVATIONS
        for loss in losses
        for update, penalties in UPDATES.items()
        for penalty in penalties
    ]


def load(path: str) -> list[Run]:
    """The runs of a table that was written before."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = {field.name for field in fields(Run) if field.default is None}
    return [
        Run(**{k: (float(v) if v else None) if k in numbers else v for k, v in row.items()})
        for row in rows
    ]


def grouped(runs: list[Run], title: str, name: Callable[[Run], str]) -> list[str]:
    """Markdown: the worst and the best of each group of runs."""
    groups = defaultdict(list)
    for run in runs:
        groups[run.algorithm, name(run)].append(run)
    lines = [
        f"| algorithm | {title} | runs | largest rise | rate, median and slowest | "
        "subgradient, last / first, median | accuracy, least, median, best |",
        "|---|---|---|---|---|---|---|",
    ]
    for (algorithm, group), members in groups.items():
        rates = [r.rate for r in members if np.isfinite(r.rate)]
        ratios = [r.last_subgradient / r.first_subgradient for r in members]
        accuracies = [r.accuracy for r in members]
        lines.append(
            f"| {algorithm} | {group} | {len(members)} | {max(r.rise for r in members):.1e} | "
            f"{np.median(rates):.2f}, {max(rates):.2f} | {np.median(ratios):.1e} | "
            f"{min(accuracies):.3f}, {np.median(accuracies):.3f}, {max(accuracies):.3f} |"
        )
    return [*lines, ""]


def totals(done: list[Run]) -> list[str]:
    """Markdown: how many runs broke a promise, and how often the guard rejected a sweep."""
    rising = sum(run.rise > ROUNDING[run.dtype] for run in done)
    counts = [(run.insufficient, run.restarts) for run in done]
    if None in counts[0]:  # a table of an earlier version
        return []
    insufficient, restarts = (int(sum(n)) for n in zip(*counts, strict=True))
    return [
        f"acceleration {done[0].acceleration}: a rise of the objective above rounding in {rising} "
        f"runs, a decrease below the promised one in {insufficient} runs, {restarts} restarts.",
        "",
    ]


def summary(runs: list[Run]) -> list[str]:
    """Markdown: totals, refusals with their reasons, groups by penalty, and by network."""
    refusals = Counter(run.refused for run in runs if run.refused)
    done = [run for run in runs if not run.refused]
    unkept = sum(r.smallest_decrease < r.promised_decrease for r in done)
    least = min(r.smallest_decrease / r.promised_decrease for r in done)
    rate = np.median([r.rate for r in done if np.isfinite(r.rate)])

    def loss(run: Run) -> str:
        return run.loss + ("" if run.update == "prox" else f", {run.update}")

    return [
        f"{len(done)} runs in {runs[0].dtype}: the largest rise of the objective is "
        f"{max(r.rise for r in done):.1e} (negative: it always fell); a decrease below what was "
        f"promised in {unkept} runs, {least:.3g} times the promised at least; median rate "
        f"{rate:.2f}.",
        "",
        *totals(done),
        *(f"Refused, {count} combinations: {reason}" for reason, count in refusals.items()),
        "",
        *grouped(done, "penalty", lambda r: f"{r.penalised}: {r.penalty}"),
        *grouped(done, "activation, loss", lambda r: f"{r.activation}, {loss(r)}"),
    ]


def main() -> None:
    """Run what was asked for, write the table, print its summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--acceleration", choices=["none", *ACCELERATIONS], default="none")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", metavar="FILE", help="CSV file, a line for each run")
    parser.add_argument("--every", type=int, default=1, help="only every K-th combination")
    parser.add_argument(
        "--from", dest="table", metavar="FILE", help="summarise this CSV, run nothing"
    )
    options = parser.parse_args()
    if options.table:
        print("\n".join(summary(load(options.table))))
        return
    runs = all_runs(options.dtype, options.acceleration, options.losses)[:: options.every]
    with ProcessPoolExecutor(options.processes) as pool:
        done = []
        for run in pool.map(measure, runs, chunksize=11):
            done.append(run)
            if len(done) % 110 == 0:
                print(f"{len(done)} of {len(runs)}", file=sys.stderr, flush=True)
    if options.out:
        with open(options.out, "w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(done[0])))
            writer.writeheader()
            writer.writerows(asdict(run) for run in done)
    print("\n".join(summary(done)))


if __name__ == "__main__":
    main()
