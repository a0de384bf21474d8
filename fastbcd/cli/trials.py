"""Short trials of ``fastbcd train`` on held-out samples choose what the user leaves open."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbcd.cli.batches import AUTO
from fastbcd.trials import chosen_by_trials, have_trials, share_held_out

# Options that trials choose, or that would contradict them; with one of them there are none.
CHOSEN = ("epochs", "damping", "schedule")
# With these the samples are spread, lie in files, or are images.
ELSEWHERE = ("comm", "memory", "layers")


def holds_trials(options: argparse.Namespace, n: int) -> bool:
    """Whether trials choose damping, batch size and passes for n training samples.

    The rule is that of the estimators: mini-batches of dense layers, and none of the chosen options
    given. `choose_batches` must have been called before. A run that goes on has its options.
    """
    return (
        options.resume is None
        and options.batch_size == AUTO
        and not (options.no_trials or options.early_stopping)
        and all(getattr(options, name) is None for name in (*CHOSEN, *ELSEWHERE))
        and have_trials(n)
    )


def choose_by_trials(
    options: argparse.Namespace,
    solver_for: Callable[[argparse.Namespace], Any],
    X: Any,
    Y: Any,
    weight: Any,
    order: Any,
) -> str | None:
    """Put what trials choose into `options`, and return a sentence about it; None for no choice.

    Parameters
    ----------
    options : argparse.Namespace
        They have no solver's defaults yet.
    solver_for : callable
        Makes the solver of such options.
    X, Y, weight : arrays
        Scaled inputs (n, d), targets (n, k) of the network, and weights (n,) or None.
    order : (n,) or (n, k) array
        Classes or targets, of which the first column counts: both parts have its values alike.
    """

    def solver_of(more: dict[str, Any]) -> Any:
        return solver_for(argparse.Namespace(**vars(options) | more))

    n = len(X)
    first = np.reshape(order, (n, -1))[:, 0]
    chosen = chosen_by_trials(solver_of, X, Y, weight, first, options.seed)
    if not chosen:
        return None
    options.epochs = chosen.pop("max_iter")
    vars(options).update(chosen)
    return (
        f"trials on {share_held_out(n):.0%} held-out samples: damping {options.damping:g}, "
        f"{options.epochs} passes in batches of {options.batch_size}; --no-trials for none"
    )
