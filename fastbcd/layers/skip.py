"""Skip connections of residual layers: ``V_l = S_l V_{l-1} + act_l(U_l)``, S_l fixed and linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace


class SkipWork(Workspace):
    """Work array of a tile: ``S V``, where that is not V itself."""

    SV: Buffer


@dataclass(frozen=True)
class Skip:
    """``S v``: v itself, or v cut to d_out numbers, or v with zeros behind it, where widths differ.

    ``S^T S`` is diagonal, 1 for the first `shared` columns of V_{l-1} and 0 for the others, so
    that the V_{l-1}-block keeps its form with one weight for each column. There is nothing to
    learn in S.
    """

    d_in: int
    d_out: int

    @property
    def shared(self) -> int:
        """How many columns of V_{l-1} reach V_l: the smaller width."""
        return min(self.d_in, self.d_out)

    def apply(self, tile: Tile, V: Any) -> Any:
        """``S V`` (m, d_out) for the rows V (m, d_in) of a tile: V, or a work array."""
        if self.d_in == self.d_out:
            return V
        SV = tile.work.of(SkipWork).SV.array((len(V), self.d_out), V.dtype)
        self.write(SV, V)
        return SV

    def write(self, SV: Any, V: Any) -> None:
        """``S V`` into the array SV (m, d_out); V (m, d_in) or more columns."""
        SV[:, : self.shared] = V[:, : self.shared]
        SV[:, self.shared :] = 0.0

    def curvature(self, gamma: float) -> Any:
        """``gamma (1 + S^T S)``: a number, or one for each column of V_{l-1} where they differ."""
        if self.shared == self.d_in:
            return gamma * 2.0
        return gamma * (1.0 + (np.arange(self.d_in) < self.shared))


def column_groups(skip: Skip | None) -> list[tuple[slice, bool]]:
    """Columns of V_{l-1} that S treats alike, and whether they reach V_l."""
    if skip is None:
        return [(slice(None), False)]
    if skip.d_in == skip.d_out:
        return [(slice(None), True)]
    groups = [(slice(0, skip.shared), True)]
    return groups if skip.shared == skip.d_in else [*groups, (slice(skip.shared, None), False)]


def curvature(skip: Skip | None, gamma: float) -> Any:
    """``gamma (1 + S^T S)``, which is gamma without a skip."""
    return gamma if skip is None else skip.curvature(gamma)
