"""Checkpoints of format 2, which version 0.1.0 wrote: their keys were the names of attributes."""

from __future__ import annotations

from typing import Any

# Keys of a metric that repeat hyperparameters.
HYPERPARAMETERS = ("damping", "rank", "ceiling", "_start")


def upgraded(metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a checkpoint of format 2 as format 3 has them; tensors are the same."""
    state = {"version": 1, **metadata["state"]}
    if "metrics" in state:
        state["metrics"] = [
            metric and _version_1(metric, left_out=HYPERPARAMETERS) for metric in state["metrics"]
        ]
    callbacks = [
        [name, _version_1(stored) if name in ("Certify", "EarlyStopping") else stored]
        for name, stored in metadata["callbacks"]
    ]
    return {**metadata, "format": 3, "state": state, "callbacks": callbacks}


def _version_1(stored: dict[str, Any], left_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """`stored` with a version; private attributes lose their underscore."""
    kept = {key.lstrip("_"): value for key, value in stored.items() if key not in left_out}
    if "image" in kept:
        kept["sketch"] = kept.pop("image")
    return {"version": 1, **kept}
