"""Reports of the blocks of an iteration: by how much each lowered F, and how far it moved."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray


class DescentLog:
    """Decreases and steps of the last iteration; `State.descent_log` holds one if it is measured.

    A solver's `step` empties it first.

    Blocks of states report sums over samples; both numbers are multiplied by `unit`, the weight of
    a sample in F. So steps have the norm ``|P|^2 = unit (|V|^2 + |U|^2) + |W|^2``, which does not
    depend on n for reduction "mean". With weights c of samples it is
    ``unit sum_i c_i (|V_i|^2 + |U_i|^2) + |W|^2``.

    Attributes
    ----------
    blocks : dict
        ``(kind, l)`` -> array of two: decrease of F, squared step. In an accelerated iteration
        ``("Q", 0)`` has the decrease from the last iterate to the starting point of the sweep.
    squared_extrapolation : float
        A bound of ``|Q - P^k|^2``, how far an accelerated iteration moved its starting point Q
        before its sweep; 0 for a plain one.
    """

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], NDArray[Any]] = {}
        self.squared_extrapolation = 0.0

    def clear(self) -> None:
        """Forget the last iteration."""
        self.blocks.clear()
        self.squared_extrapolation = 0.0

    def add(self, kind: str, l: int, report: Any, unit: float = 1.0) -> None:
        """Add a report of block ``kind_l``, for some samples or for all.

        `report` (2,) is decrease of F and squared step, and `unit` is their weight; `kind` is "V",
        "U" or "W", and `l` the layer.
        """
        known = self.blocks.get((kind, l))
        self.blocks[kind, l] = unit * report if known is None else known + unit * report

    @property
    def decrease(self) -> float:
        """``F(P^{k-1}) - F(P^k)`` of the iteration: the sum over its blocks."""
        return float(sum(report[0] for report in self.blocks.values()))

    @property
    def squared_step(self) -> float:
        """``|P^k - P^{k-1}|^2``."""
        return float(sum(report[1] for report in self.blocks.values()))
