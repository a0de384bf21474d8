"""Extrapolation between full-batch iterations: one variant a line, on MNIST's training samples.

    python benchmarks/acceleration.py --mnist FOLDER [--algorithm NAME] [--only GROUP ...]
        [--lines NAME ...] [--network D1,D2,...] [--samples N] [--iterations K] [--gamma G]
        [--ridge R] [--alpha A] [--init NAME] [--threads N]

An iteration extrapolates, ``Q = P^k + beta (P^k - P^{k-1})``, and one sweep from Q gives P^{k+1}.
It is rejected unless ``F(P^k) - F(P^{k+1}) >= a |P^{k+1} - P^k|^2`` with the a that the theorem
promises for plain sweeps; then a plain sweep from P^k follows. The table has F and the accuracy
on the last 10,000 training samples, which no run trains on; the test set is not read. "rejected"
counts rejections, "violation" is that of the constraints at the end, and "rises" counts iterations
in which F rose.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from arguments import Parser, count, positive, widths
from mnist import Samples, without_test_set

from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.training.loop import network_of

MARKS = (10, 20, 50, 100, 150, 200, 300)
ALGORITHMS: dict[str, dict[str, Any]] = {
    "three-splitting": {},
    "two-splitting": {},
    "residual": {"residual": True},
    "deep": {"hidden": (100,) * 10},
    "tanh": {"activation": "tanh"},
    "nonnegative": {"state_penalty": "nonnegative"},
    "nonnegative-two": {"state_penalty": "nonnegative"},
}

# A rule maps its number t to beta and the next t; t starts again when an iteration is rejected.
Rule = Callable[[float], tuple[float, float]]


def nesterov(t: float) -> tuple[float, float]:
    """``beta = (t - 1) / t'`` with ``t' = (1 + sqrt(1 + 4 t^2)) / 2``."""
    after = (1 + np.sqrt(1 + 4 * t * t)) / 2
    return (t - 1) / after, after


def fraction(a: float) -> Rule:
    """``beta = (k - 1) / (k + a)`` in iteration k after a start, with ``t = (k + a - 1) / a``."""
    return lambda t: ((t - 1) / (t + 1 / a), t + 1 / a)


def constant(beta: float) -> Rule:
    """The same beta in every iteration."""
    return lambda t: (beta, t)


def growing(factor: float) -> Rule:
    """Beta grows by `factor` in each accepted iteration; t is beta itself."""
    return lambda t: (t, factor * t)


def longer(factor: float) -> Rule:
    """`factor` times Nesterov's beta, which goes beyond 1."""
    return lambda t: (factor * nesterov(t)[0], nesterov(t)[1])


@dataclass(frozen=True)
class Variant:
    """What a line of the table changes; the defaults are Nesterov's rule as the solvers have it."""

    rule: Rule = nesterov
    start: float = 1.0
    after_rejection: Callable[[float], float] = lambda t: 1.0
    cap: float = np.inf
    blocks: str = "WVU"
    """The blocks that are extrapolated."""
    guard: str = "decrease"
    """Reject by sufficient "decrease" or by "value"; "gradient": by "decrease", and t = 1 after an
    accepted iteration with ``<Q - P^{k+1}, P^{k+1} - P^k> > 0``; "none": accept everything."""
    rounded: bool = False
    """Differences of V and U are rounded to bf16, and P^k is restored from them."""
    constraint: str = "project"
    """Elements of V that left the set: "project" them, "drop" their momentum, or leave them
    "free"."""
    relaxation: float = 1.0
    """Each W_l moves by this multiple of its step, after the sweep."""
    anderson: int = 0
    """Anderson's method of type II on the weights with this memory, in place of momentum."""
    gamma_growth: float = 1.0
    """Gamma is multiplied by this after each iteration, up to 4."""
    adaptive: bool = False
    """One more inner step, up to 3, when F fell by less than 2 per cent."""
    solver: dict[str, Any] = field(default_factory=dict)
    problem: dict[str, Any] = field(default_factory=dict)


PLAIN = Variant(constant(0.0))


def small(gamma: float, ridge: float = 3e-4, **rest: Any) -> Variant:
    """A small gamma, with the fastest rule."""
    problem = {"gamma": gamma, "weight_penalty": f"ridge:{ridge}"}
    return Variant(fraction(1), problem=problem, **rest)


GROUPS: dict[str, dict[str, Variant]] = {
    "main": {
        "plain": PLAIN,
        "nesterov": Variant(),
        "nesterov, differences in bf16": Variant(rounded=True),
    },
    "cap": {f"cap {value}": Variant(cap=value) for value in (0.8, 0.9, 0.95, 0.99)},
    "rule": {
        "beta 0.9": Variant(constant(0.9)),
        "beta 0.9, differences in bf16": Variant(constant(0.9), rounded=True),
        **{f"beta (k-1)/(k+{a})": Variant(fraction(a)) for a in (0.5, 1, 3, 5, 10)},
        "beta 1.1 times, cap 1.1": Variant(longer(1.1), cap=1.1),
        "beta 1.2 times, cap 1.2": Variant(longer(1.2), cap=1.2),
        "beta grows by 5 %, cap 1, over 2 after a rejection": Variant(
            growing(1.05), start=0.5, cap=1.0, after_rejection=lambda t: min(t, 1.0) / 2
        ),
        "beta grows by 5 %, cap 1.2, over 1.5 after a rejection": Variant(
            growing(1.05), start=0.5, cap=1.2, after_rejection=lambda t: min(t, 1.2) / 1.5
        ),
    },
    "start": {
        "t starts at 5, goes to 1": Variant(start=5.0),
        "t starts at 5, goes to 5": Variant(start=5.0, after_rejection=lambda t: 5.0),
        "t starts at 10, is halved": Variant(start=10.0, after_rejection=lambda t: max(1.0, t / 2)),
        "t starts at 5, cap 0.95": Variant(start=5.0, cap=0.95),
        "t starts at 5, is halved, beta 1.05 times": Variant(
            longer(1.05), start=5.0, cap=1.05, after_rejection=lambda t: max(1.0, t / 2)
        ),
    },
    "blocks": {
        **{f"only {blocks}": Variant(blocks=blocks) for blocks in ("W", "WV", "WU", "VU")},
        "only W, beta (k-1)/(k+1)": Variant(fraction(1), blocks="W"),
    },
    "guard": {
        "rejected by value": Variant(guard="value"),
        "t = 1 by gradient, too": Variant(guard="gradient"),
        "t / 2 after a rejection": Variant(after_rejection=lambda t: max(1.0, t / 2)),
        "no guard": Variant(guard="none"),
    },
    "relaxation": {
        "plain, W moves 1.2 of its step": Variant(constant(0.0), relaxation=1.2),
        "plain, W moves 1.5 of its step": Variant(constant(0.0), relaxation=1.5),
        "W moves 1.2 of its step": Variant(relaxation=1.2),
        **{
            f"W moves {r} of its step, beta (k-1)/(k+1)": Variant(fraction(1), relaxation=r)
            for r in (1.2, 1.5, 1.8)
        },
    },
    "anderson": {"Anderson on W, memory 5": Variant(anderson=5)},
    "alpha": {f"alpha {alpha:g}": Variant(solver={"alpha": alpha}) for alpha in (1e-2, 1e-4)},
    "ridge": {
        f"ridge {r:g}": Variant(problem={"weight_penalty": f"ridge:{r}"})
        for r in (1e-3, 1e-4, 3e-5)
    },
    "gamma": {f"gamma {gamma:g}": Variant(problem={"gamma": gamma}) for gamma in (0.3, 3.0, 10.0)},
    "small gamma, beta (k-1)/(k+1)": {
        "gamma 0.1": small(0.1),
        "gamma 0.3, ridge 1e-3": small(0.3, ridge=1e-3),
        "gamma 0.3, ridge 1e-4": small(0.3, ridge=1e-4),
        "gamma 0.3, alpha 1e-4": small(0.3, solver={"alpha": 1e-4}),
        "gamma 0.3, grows by 2 %": small(0.3, gamma_growth=1.02),
    },
    "growing gamma": {
        "gamma grows by 2 %": Variant(gamma_growth=1.02),
        "plain, gamma grows by 2 %": Variant(constant(0.0), gamma_growth=1.02),
    },
    "inner steps": {
        "2 inner steps": Variant(solver={"inner_steps": 2}),
        "3 inner steps": Variant(solver={"inner_steps": 3}),
        "gamma 0.3, 2 inner steps, beta (k-1)/(k+1)": small(0.3, solver={"inner_steps": 2}),
        "gamma 0.3, 2 inner steps, only W, beta (k-1)/(k+1)": small(
            0.3, blocks="W", solver={"inner_steps": 2}
        ),
        "inner steps adaptive": Variant(adaptive=True),
    },
    "constraint": {
        "projected": Variant(constraint="project"),
        "momentum dropped": Variant(constraint="drop"),
        "left outside the set": Variant(constraint="free"),
    },
}


def rounded(D: Any) -> Any:
    """D (float32) rounded to bf16."""
    bits = D.view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32)


class Run:
    """A solver, its state, and what extrapolation keeps: P^k and ``P^k - P^{k-1}``."""

    def __init__(self, variant: Variant, solver: Any, state: Any) -> None:
        self.variant, self.solver, self.state = variant, solver, state
        arrays = {"W": state.W[1:], "V": state.V[1:], "U": state.U[1:]}
        self.blocks = [(kind, a) for kind in arrays for a in arrays[kind] if a is not None]
        self.before = [array.copy() for _, array in self.blocks]
        self.moved = [np.zeros_like(array) for _, array in self.blocks]
        self.t, self.rejected, self.rises = variant.start, 0, 0
        self.past: list[tuple[Any, Any]] = []
        self.F, self.violation = solver.objective_and_violation(state)
        self.promise = solver.promised_decrease()
        self.nonnegative = solver.problem.state_penalties[0].name == "nonnegative"

    def iterate(self) -> None:
        """One iteration, and a plain sweep where the extrapolated one was rejected."""
        variant, F = self.variant, self.F
        beta, t = variant.rule(self.t)
        beta = min(beta, variant.cap)
        for (_, array), before in zip(self.blocks, self.before, strict=True):
            np.copyto(before, array)
        ahead = self.extrapolate(beta)
        self.sweep()
        step, slope = self.step(ahead)
        needed = {"value": 0.0, "none": -np.inf}.get(variant.guard, self.promise * step)
        decrease = F - self.F
        if ahead and not decrease >= needed:
            self.rejected += 1
            self.restore()
            self.sweep()
            self.step(False)
            self.past.clear()
            t = variant.after_rejection(self.t)
        elif variant.guard == "gradient" and slope > 0:
            t = 1.0
        self.t = t
        self.rises += self.F > F * (1 + 1e-7)
        if variant.gamma_growth > 1:
            self.grow_gamma()
        if variant.adaptive:
            slow = self.F > 0.98 * F
            self.solver.inner_steps = min(3, self.solver.inner_steps + slow)

    def extrapolate(self, beta: float) -> bool:
        """Move the blocks from P^k to Q, and `moved` to Q - P^k; True if Q differs from P^k."""
        if self.variant.anderson:
            return self.anderson()
        for (kind, array), moved in zip(self.blocks, self.moved, strict=True):
            moved *= beta if kind in self.variant.blocks else 0.0
            constraint = self.variant.constraint if kind == "V" and self.nonnegative else "free"
            if constraint == "drop":
                moved[array + moved < 0] = 0.0
            array += moved
            if constraint == "project":
                np.maximum(array, 0, out=array)
        return beta > 0 and self.state.iteration > 0

    def anderson(self) -> bool:
        """Move the weights to ``G_k - sum_j c_j (G_{j+1} - G_j)``, c by least squares of residuals.

        G are the weights after a sweep, residuals their differences to the weights before it.
        """
        W = self.state.W[1:]
        if len(self.past) < 2:
            return False
        G, R = (np.array(each) for each in zip(*self.past, strict=True))
        c = np.linalg.lstsq(np.diff(R, axis=0).T, R[-1], rcond=1e-6)[0]
        ahead = G[-1] - np.diff(G, axis=0).T @ c
        at = 0
        for w in W:
            w[...] = ahead[at : at + w.size].reshape(w.shape)
            at += w.size
        return True

    def sweep(self) -> None:
        """One ordinary sweep, with the over-relaxation of W."""
        W = [w.copy() for w in self.state.W[1:]]
        self.solver.step(self.state)
        if self.variant.relaxation != 1.0:
            for w, start in zip(self.state.W[1:], W, strict=True):
                w += (self.variant.relaxation - 1) * (w - start)
        if self.variant.anderson:
            G, start = (np.concatenate([w.ravel() for w in each]) for each in (self.state.W[1:], W))
            self.past = [*self.past[-self.variant.anderson :], (G, G - start)]
        self.F, self.violation = self.solver.objective_and_violation(self.state)

    def step(self, ahead: bool) -> tuple[float, float]:
        """Set `moved` to P^{k+1} - P^k; return its square and ``<Q - P^{k+1}, P^{k+1} - P^k>``."""
        unit = self.solver.problem.per_sample(self.state.n_total)
        square = product = 0.0
        for (kind, array), before, moved in zip(self.blocks, self.before, self.moved, strict=True):
            weight = 1.0 if kind == "W" else unit
            old = moved.copy() if ahead and self.variant.guard == "gradient" else moved
            np.subtract(array, before, out=moved)
            square += weight * float(np.vdot(moved, moved))
            product += weight * float(np.vdot(old, moved)) if old is not moved else 0.0
            if self.variant.rounded and kind != "W":
                moved[...] = rounded(moved)
        return square, product - square

    def restore(self) -> None:
        """Go back to P^k."""
        for (kind, array), before, moved in zip(self.blocks, self.before, self.moved, strict=True):
            if self.variant.rounded and kind != "W":
                array -= moved
                np.copyto(before, array)
            else:
                np.copyto(array, before)

    def grow_gamma(self) -> None:
        """Go on with a larger gamma, and with F for it."""
        old = self.solver.problem
        self.solver.problem = Problem(
            old.widths,
            old.activations[0],
            old.loss,
            min(4.0, old.gamma * self.variant.gamma_growth),
            weight_penalty=list(old.weight_penalties),
            state_penalty=list(old.state_penalties),
            residual=old.residual,
        )
        self.F, self.violation = self.solver.objective_and_violation(self.state)
        self.promise = self.solver.promised_decrease()


def line(samples: Samples, options: argparse.Namespace, name: str, variant: Variant) -> str:
    """One line of the table."""
    of_problem = dict(ALGORITHMS[options.algorithm])
    hidden = of_problem.pop("hidden", options.network)
    of_problem |= {"gamma": options.gamma, "weight_penalty": f"ridge:{options.ridge}"}
    problem = Problem(
        (samples.X.shape[1], *hidden, samples.n_classes), **(of_problem | variant.problem)
    )
    kind = TwoSplitting if "two" in options.algorithm else ThreeSplitting
    of_solver = {"alpha": options.alpha, "n_threads": options.threads} | variant.solver
    solver = kind(problem, **of_solver)
    X, y = samples.X[: options.samples], samples.y[: options.samples]
    run = Run(variant, solver, solver.init(X, one_hot(y, samples.n_classes), init=options.init))
    cells = []
    for iteration in range(1, options.iterations + 1):
        run.iterate()
        if iteration in MARKS or iteration == options.iterations:
            outputs = network_of(solver, run.state).forward(samples.X_test, options.threads)
            accuracy = 100 * np.mean(outputs.argmax(axis=1) == samples.y_test)
            cells.append(f"{run.F:.4f}, {accuracy:.1f}")
            print(name, iteration, cells[-1], run.rejected, file=sys.stderr, flush=True)
    cells += [str(run.rejected), f"{run.violation:.3f}", str(run.rises)]
    return f"| {options.algorithm} | {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = Parser("benchmarks/acceleration.py", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", required=True, help="MNIST's IDX files")
    parser.add_argument("--algorithm", choices=list(ALGORITHMS), default="three-splitting")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--lines", nargs="+", metavar="NAME", help="some lines of the groups")
    parser.add_argument("--network", type=widths, default=(256, 256), metavar="D1,D2,...")
    parser.add_argument("--samples", type=count, default=20000, metavar="N")
    parser.add_argument("--iterations", type=count, default=100, metavar="K")
    parser.add_argument("--gamma", type=positive, default=1.0)
    parser.add_argument("--ridge", type=positive, default=3e-4)
    parser.add_argument("--alpha", type=positive, default=1e-3)
    parser.add_argument("--init", default="he")
    parser.add_argument("--threads", type=count, default=2, metavar="N")
    options = parser.parse_args()
    samples = without_test_set(parser.samples(options.mnist))
    marks = sorted({k for k in MARKS if k < options.iterations} | {options.iterations})
    columns = ["algorithm", "variant", *(f"F, accuracy after {k}" for k in marks)]
    columns += ["rejected", "violation", "rises"]
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    for group in options.only:
        for name, variant in GROUPS[group].items():
            applies = "two" in options.algorithm or group != "inner steps"
            if applies and name in (options.lines or GROUPS[group]):
                print(line(samples, options, name, variant), flush=True)


if __name__ == "__main__":
    main()
