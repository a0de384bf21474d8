"""Check whether two commits train the same weights, to the last bit.

    python benchmarks/compare_weights.py BEFORE [AFTER]

It trains small networks with the code of both commits, each in its own process, and compares a
SHA-256 of all weights and of the objective. The default of AFTER is the working tree. It prints the
runs that differ and the number of those that agree, and exits with status 1 if one differs. The
runs cover every solver with every activation, loss and penalty, residual networks, both reductions,
weights of samples, mini-batches, runs out of core, several threads and the estimators. They use
public names only, because both commits must know them. A commit takes three minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ACTIVATIONS = (
    "relu", "leaky_relu:0.2", "linear", "sigmoid", "tanh", "softplus", "polynomial:0.1,1,-0.05",
)  # fmt: skip
LOSSES = ("squared", "logistic_ovr", "hinge", "exponential", "cross_entropy")
PENALTIES = (
    "ridge:1e-3", "l1:1e-3", "elastic_net:1e-3,0.5", "nonnegative", "box:-0.2,0.3",
    "l1:1e-3/none/ridge:1e-2",
)  # fmt: skip
DTYPES = ("float32", "float64")
WIDTHS = (12, 17, 17, 3)


def settings() -> Iterator[dict[str, Any]]:
    """Yield keywords of `Problem` for the runs of all solvers."""
    yield {}
    yield {"reduction": "sum"}
    yield {"widths": (12, 3)}
    yield {"widths": (12, 5, 40, 9, 3)}
    yield from ({"activation": activation} for activation in ACTIVATIONS[1:])
    yield from ({"loss": loss} for loss in LOSSES[1:])
    yield {"loss": "logistic", "widths": (12, 17, 17, 1)}
    yield from ({"weight_penalty": penalty} for penalty in PENALTIES)
    yield {"activation": "tanh", "loss": "cross_entropy", "weight_penalty": "l1:1e-3"}


def runs() -> Iterator[tuple[str, Callable[[], tuple[list[Any], Any]]]]:
    """Yield the name of each run, and a function that returns its weights and last objective."""
    import numpy as np

    from fastbcd import (
        BCDClassifier,
        BCDRegressor,
        MiniBatchThreeSplitting,
        Problem,
        ThreeSplitting,
        TwoSplitting,
        one_hot,
    )

    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, WIDTHS[0]))
    labels = rng.integers(0, 3, len(X))
    weight = rng.integers(0, 3, len(X)).astype(np.float64)

    def targets(problem: Any) -> Any:
        k = problem.widths[-1]
        return one_hot(labels, 3) if k == 3 else (labels[:, None] > 0).astype(np.float64)

    def trained(
        kind: Any, problem: dict[str, Any], fit: dict[str, Any], **options: Any
    ) -> tuple[list[Any], Any]:
        network = Problem(**{"widths": WIDTHS, **problem})
        solver = kind(network, **options)
        result = solver.fit(X, targets(network), seed=3, **fit)
        return result.network.W, solver.objective(result.state)

    states = ("ridge:1e-2", "l1:1e-2", "nonnegative", "box:-1,2")
    residual = [{"residual": True, "activation": name} for name in ("relu", "tanh")]
    three = [*settings(), *residual, *({"state_penalty": name} for name in states), {"rho": 3.0}]
    two = [*settings(), *({"state_penalty": name} for name in states)]
    mini = [*settings(), *residual]
    for dtype in DTYPES:
        for kind, problems in ((ThreeSplitting, three), (TwoSplitting, two)):
            for problem, extra in itertools.product(problems, ({}, {"sample_weight": weight})):
                name = f"{kind.__name__} {dtype} {problem}{' weighted' if extra else ''}"
                yield (
                    name,
                    lambda kind=kind, problem=problem, extra=extra, dtype=dtype: trained(
                        kind,
                        problem,
                        {"max_iter": 3, **extra},
                        alpha=0.1,
                        dtype=dtype,
                        tile_rows=90,
                    ),
                )
            for options in (
                {"loss_update": "prox-linear", "alpha": 2.0},
                {"alpha": 0.1, "alpha_weights": 0.01, "n_threads": 2},
                {"alpha": 0.1, "memory": "3GiB"},
                {"alpha": 0.0},
            ):
                yield (
                    f"{kind.__name__} {dtype} {options}",
                    lambda kind=kind, options=options, dtype=dtype: trained(
                        kind, {}, {"max_iter": 3, "bias": 0.1}, dtype=dtype, **options
                    ),
                )
        yield (
            f"TwoSplitting {dtype} inner_steps",
            lambda dtype=dtype: trained(
                TwoSplitting, {"activation": "tanh"}, {"max_iter": 2}, inner_steps=3, dtype=dtype
            ),
        )
        for problem, extra in itertools.product(mini, ({}, {"sample_weight": weight})):
            yield (
                f"MiniBatchThreeSplitting {dtype} {problem}{' weighted' if extra else ''}",
                lambda problem=problem, extra=extra, dtype=dtype: trained(
                    MiniBatchThreeSplitting, problem, {"max_iter": 2, **extra}, dtype=dtype
                ),
            )
        for options in (
            {"batch_size": 128, "n_threads": 2, "rank": 3},
            {"rank": 0, "step_size": 0.1},
            {"average": 0, "schedule": "linear"},
            {"rho": 2.0, "weight_decay": 0.0, "momentum": 0.5, "damping": 1.0},
        ):
            yield (
                f"MiniBatchThreeSplitting {dtype} {options}",
                lambda options=options, dtype=dtype: trained(
                    MiniBatchThreeSplitting, {}, {"max_iter": 2}, dtype=dtype, **options
                ),
            )

    def estimated(model: Any, y: Any, **fit: Any) -> tuple[list[Any], Any]:
        return model.fit(X, y, **fit).model_.network.W, model.predict(X[:50]).tolist()

    for solver, stopping, weighted in itertools.product(
        ("mini-batch", "three-splitting", "two-splitting"), (False, True), (False, True)
    ):
        chosen = {
            "hidden_layer_sizes": (16,),
            "solver": solver,
            "max_iter": 4,
            "random_state": 0,
            "early_stopping": stopping,
        }
        if "acceleration" in BCDClassifier().get_params():
            chosen["acceleration"] = None  # commits before had none
        fit = {"sample_weight": weight} if weighted else {}
        for kind, y in ((BCDClassifier, labels), (BCDRegressor, X[:, 0] * 3.0 + 100.0)):
            yield (
                f"{kind.__name__} {solver} stopping={stopping} weighted={weighted}",
                lambda kind=kind, y=y, fit=fit, chosen=chosen: estimated(kind(**chosen), y, **fit),
            )

    def stream() -> tuple[list[Any], Any]:
        model = BCDClassifier((16,), random_state=0)
        for rows in np.array_split(np.arange(len(X)), 5):
            model.partial_fit(X[rows], labels[rows], classes=[0, 1, 2])
        return model.model_.network.W, model.predict(X[:50]).tolist()

    yield "BCDClassifier partial_fit", stream


def digest(weights: list[Any], number: Any) -> str:
    """Return the SHA-256 of weights, their types and shapes, and of a number."""
    sha = hashlib.sha256(repr(number).encode())
    for W in weights:
        sha.update(f"{W.dtype} {W.shape}".encode())
        sha.update(W.tobytes())
    return sha.hexdigest()


def print_digests() -> None:
    """Print a JSON object with the digest of each run, or the error that ended it."""
    import warnings

    warnings.simplefilter("ignore")
    digests = {}
    for name, run in runs():
        if name in digests:
            raise SystemExit(f"two runs are called {name}")
        try:
            digests[name] = digest(*run())
        except (ValueError, FloatingPointError) as error:
            digests[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(digests))


def digests_of(tree: Path) -> dict[str, str]:
    """Return the digests that `print_digests` prints with the package in `tree`."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, str(Path(__file__).resolve()), "--print"]
        done = subprocess.run(
            command, cwd=cache, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(done.stdout)


def main() -> int:
    """Return the exit status: 0 if all runs agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", nargs="?", help="commit")
    parser.add_argument("after", nargs="?", help="commit (default: the working tree)")
    parser.add_argument("--print", action="store_true", help="digests of the installed package")
    options = parser.parse_args()
    if options.print:
        print_digests()
        return 0
    if options.before is None:
        parser.error("which commit? give BEFORE")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, commit in enumerate((options.before, options.after)):
            tree = ROOT
            if commit is not None:
                tree = Path(folder) / str(number)
                subprocess.run(
                    ["git", "worktree", "add", "--quiet", "--detach", str(tree), commit],
                    cwd=ROOT,
                    check=True,
                )
            try:
                found.append(digests_of(tree))
            finally:
                if commit is not None:
                    subprocess.run(
                        ["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True
                    )
    before, after = found
    different = [name for name in before | after if before.get(name) != after.get(name)]
    for name in different:
        print(f"differs: {name}\n  {before.get(name)}\n  {after.get(name)}")
    refused = sum(not text.isalnum() for text in before.values())
    print(f"{len(before) - len(different)} of {len(before)} runs agree to the last bit", end="")
    print(f"; {refused} of them are refused, with the same message" if refused else "")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
