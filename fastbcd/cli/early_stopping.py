"""``fastbcd train --early-stopping``: some training samples are held out to stop by their loss."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.callbacks import Callback, EarlyStopping
from fastbcd.callbacks.held_out import HeldOut
from fastbcd.cli.parser import option_of
from fastbcd.data import Dataset
from fastbcd.devices.ranks import Ranks
from fastbcd.errors import InputError
from fastbcd.support.parameters import require, require_integer

# Names of the estimators' parameters, which are scikit-learn's, and their defaults.
DETAILS = {"validation_fraction": 0.1, "n_iter_no_change": 10, "tol": 1e-4}
COLUMNS = ("validation_loss", "validation_score")


def add_early_stopping_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--early-stopping`` and its details to `parser`."""
    add = parser.add_argument_group(
        "early stopping", "for noisy data, on which a network learns the noise in later passes"
    ).add_argument
    add("--early-stopping", action="store_true", help="hold out some of the training samples, stop "
        "once their loss (the log loss for cross_entropy) does not fall any more, and keep the "
        "weights of the least one")  # fmt: skip
    add("--validation-fraction", type=float, metavar="F", help="share of the training samples that "
        f"is held out; {_default('validation_fraction')}")  # fmt: skip
    add("--n-iter-no-change", type=int, metavar="K", help="passes to wait for a smaller loss; "
        f"{_default('n_iter_no_change')}")  # fmt: skip
    add("--tol", type=float, help="a fall of the loss by less does not count; "
        f"{_default('tol')}")  # fmt: skip


def check_early_stopping(options: argparse.Namespace, ranks: Ranks) -> None:
    """Fill in the details; `InputError` if an option does not go with ``--early-stopping``."""
    for name, value in DETAILS.items():
        if not options.early_stopping:
            if getattr(options, name) is not None:
                raise InputError(f"{option_of(name)} needs --early-stopping")
        elif getattr(options, name) is None:
            setattr(options, name, value)
    if not options.early_stopping:
        return
    fraction = require(options.validation_fraction, "--validation-fraction", at_least=0)
    if not 0.0 < fraction < 1.0:
        raise InputError(f"--validation-fraction must lie between 0 and 1, got {fraction:g}")
    require_integer(options.n_iter_no_change, "--n-iter-no-change", at_least=1)
    require(options.tol, "--tol", at_least=0)
    if options.evaluate_every != 1:
        raise InputError("--evaluate-every does not go with --early-stopping, which needs every 1")
    if ranks.size > 1 or options.memory is not None:
        option = "--memory" if ranks.size == 1 else "mpiexec"
        raise InputError(f"--early-stopping does not go with {option}")


@dataclass
class HeldOutSamples:
    """Samples that are held out: raw inputs X (n, d), targets Y (n, k) of the network, their score.

    `weight` (n,) or None is that of their loss.

    ``score(outputs, Y, weight)`` is the accuracy, or R^2 of numbers.
    """

    X: Any
    Y: Any
    score: Callable[..., float]
    weight: Any = None

    def callbacks(
        self, options: argparse.Namespace, preprocessing: Any, dtype: Any
    ) -> list[Callback]:
        """Make the callbacks that measure these samples and stop by their loss."""
        X = preprocessing(self.X, dtype)
        stop = EarlyStopping("validation_loss", options.n_iter_no_change, options.tol, mode="min")
        return [HeldOut(X, self.Y, self.weight, self.score), stop]


def hold_out(options: argparse.Namespace, dataset: Dataset, targets: Any) -> HeldOutSamples | None:
    """Take a share of the training samples, of each class; None without ``--early-stopping``.

    `targets` are the `Targets` of all samples, which give these up. Which samples are taken follows
    from the seed.

    Raises
    ------
    InputError
        A class would have no sample left on one of the two sides.
    """
    if not options.early_stopping:
        return None
    held = np.zeros(len(targets.train), bool)
    rng = np.random.default_rng([options.seed, len(held)])
    for name, rows in targets.groups():
        count = round(options.validation_fraction * len(rows))
        if len(rows) < 2 or count == len(rows):
            raise InputError(
                f"--early-stopping: {name} has {len(rows)} training samples, too few to hold out a "
                f"share of {options.validation_fraction:g} of them"
            )
        held[rng.choice(rows, max(1, count), replace=False)] = True
    weight = dataset.weight_train
    if weight is not None:
        for part, rows in (("held out", held), ("left to train on", ~held)):
            if not weight[rows].any():
                raise InputError(f"--early-stopping: all samples {part} have the weight 0")
        weight, dataset.weight_train = weight[held], weight[~held]
    Y = targets.give_up(held)
    samples = HeldOutSamples(dataset.X_train[held], Y, targets.score, weight)
    dataset.X_train, dataset.n_train = dataset.X_train[~held], len(targets.train)
    return samples


def kept_iteration(callbacks: list[Callback]) -> int | None:
    """Return the iteration whose weights early stopping keeps; None without it."""
    stops = [each for each in callbacks if isinstance(each, EarlyStopping)]
    return stops[0].best_iteration if stops else None


def _default(name: str) -> str:
    return f"default: {DETAILS[name]:g}"
