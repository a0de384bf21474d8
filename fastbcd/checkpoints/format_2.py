"""Checkpoints of format 2, which version 0.1.0 wrote, with names of attributes as keys."""

from __future__ import annotations

from typing import Any

# Keys of a metric that repeat hyperparameters.
HYPERPARAMETERS = ("damping", "rank", "ceiling", "_start")


def upgraded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of format 2 in the form of format 3; the tensors are the same."""
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
    """Return `stored` with a version and without the underscores of private attributes."""
    kept = {key.lstrip("_"): value for key, value in stored.items() if key not in left_out}
    if "image" in kept:
        kept["sketch"] = kept.pop("image")
    return {"version": 1, **kept}
