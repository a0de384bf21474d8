"""Full batches or mini-batches: which of them the options of ``fastbcd train`` ask for."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from fastbcd.cli.parser import option_of
from fastbcd.errors import InputError
from fastbcd.solvers.defaults import FULL_BATCH, MINI_BATCH_PARAMETERS
from fastbcd.solvers.two_splitting import TwoSplitting

AUTO, FULL = "auto", "full"
FULL_BATCH_ONLY = (
    "alpha",
    "alpha_weights",
    "loss_update",
    "inner_steps",
    "acceleration",
    "init",
    "bias",
    "certify",
)
TWO_SPLITTING = next(name for name, kind in FULL_BATCH.items() if kind is TwoSplitting)


def choose_batches(options: argparse.Namespace) -> str | None:
    """Set ``options.batch_size``, if it was not given, and check the other options against it.

    It becomes "full" if an option needs full batches, and else "auto". The number of "auto" follows
    from the number of samples, see `solver_of`. Return a sentence for the user if "full" was chosen
    for a reason that is not obvious.

    Raises
    ------
    InputError
        An option of mini-batches and one of full batches are both given.
    """
    full, mini = _given(options, FULL_BATCH_ONLY), _given(options, MINI_BATCH_PARAMETERS)
    if set(options.state_penalty.split("/")) != {"none"}:
        full.append("--state-penalty")
    if options.algorithm == TWO_SPLITTING:
        full.insert(0, f"--algorithm {TWO_SPLITTING}")
    size = options.batch_size
    if size is None:
        if full and mini:
            raise InputError(
                f"{mini[0]} is an option of mini-batches, but {full[0]} needs full batches; "
                "leave one of them out"
            )
        options.batch_size = FULL if full else AUTO
        if full and options.algorithm != TWO_SPLITTING:
            return f"full batches, because {full[0]} needs them"
    elif size == FULL and mini:
        raise InputError(f"{mini[0]} does not go with --batch-size {FULL}")
    elif size != FULL and full:
        raise InputError(
            f"{full[0]} does not go with --batch-size {size}; it needs --batch-size {FULL}"
        )
    return None


def takes_full_batches(options: argparse.Namespace) -> bool:
    """Whether each iteration has all samples; `choose_batches` must have been called before."""
    return bool(options.batch_size == FULL)


def with_batch_size(config: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a config.json; runs of earlier versions had full batches unless named.

    They wrote null for them.
    """
    return config if config.get("batch_size") is not None else {**config, "batch_size": FULL}


def batch_size(text: str) -> int | str:
    """Type of ``--batch-size``."""
    try:
        return text if text in (AUTO, FULL) else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a whole number nor {AUTO} nor {FULL}"
        ) from None


def _given(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Return the options among `names` that were given, as users type them."""
    return [option_of(name) for name in names if getattr(options, name) is not None]
