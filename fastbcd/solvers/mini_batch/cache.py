"""Data that a solver and its device keep with the state of a mini-batch run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class BatchCache:
    """Memory that serves all batches of a run; a run can go on without it.

    Attributes
    ----------
    batches : dict
        The `Batch` of each number m of samples, all in the memory of the largest.
    counts_and_responses : dict
        The two arrays of `Sizes` on the device, by the values of the counts.
    scaling : list
        The three arrays (L + 1,) that `RMSScaling` writes.
    products : array or None
        The buffer of `SharedProducts`.
    launches : dict
        What the device keeps, such as recorded launches.
    """

    batches: dict[int, Any] = field(default_factory=dict)
    counts_and_responses: dict[tuple[float, ...], list[Any]] = field(default_factory=dict)
    scaling: list[Any] = field(default_factory=list)
    products: Any = None
    launches: dict[Any, Any] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything."""
        vars(self).update(vars(BatchCache()))
