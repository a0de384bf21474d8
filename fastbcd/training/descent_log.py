"""What the blocks of an iteration report: by how much F fell, and how far they moved."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class DescentLog:
    """Sums over the blocks of the last iteration, where `State.descent_log` holds one.

    A solver's `step` empties it first.

    A block of states reports for its samples at unit weight; `unit`, what a sample
    counts, weighs both numbers. Steps are thereby measured in the norm
    ``|P|^2 = unit (|V|^2 + |U|^2) + |W|^2``, which does not depend on n for the mean; with
    weights c of samples, ``unit sum_i c_i (|V_i|^2 + |U_i|^2) + |W|^2``.

    Attributes
    ----------
    blocks : dict
        ``(kind, l)`` -> array of two: decrease of F, squared step.
    """

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], NDArray[Any]] = {}

    def clear(self) -> None:
        """Forget the last iteration."""
        self.blocks.clear()

    def add(self, kind: str, l: int, report: Any, unit: float = 1.0) -> None:
        """Add what block ``kind_l`` reports (of some samples, or whole).

        `report` (2,) is decrease of F and squared step, `unit` their weight; `kind` is "V", "U"
        or "W", and `l` the layer.
        """
        known = self.blocks.get((kind, l))
        self.blocks[kind, l] = unit * report if known is None else known + unit * report

    @property
    def decrease(self) -> float:
        """``F(P') - F(P)`` of the iteration: the sum over its blocks."""
        return float(sum(report[0] for report in self.blocks.values()))

    @property
    def squared_step(self) -> float:
        """``|P - P'|^2``."""
        return float(sum(report[1] for report in self.blocks.values()))
