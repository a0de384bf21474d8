"""Skip connections of residual layers: ``V_l = S_l V_{l-1} + act_l(U_l)``, S_l fixed and linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace


class SkipWork(Workspace):
    """Work array of a tile for ``S V``, where that is not V itself."""

    SV: Buffer


@dataclass(frozen=True)
class Skip:
    """``S v``: v itself, or its first d_out numbers, or v followed by zeros, as the widths ask.

    ``S^T S`` is diagonal, 1 for the first `shared` columns of V_{l-1} and 0 for the others, so
    that the V_{l-1}-block keeps its form with one weight for each column. S has no weights.
    """

    d_in: int
    d_out: int

    @property
    def shared(self) -> int:
        """The number of columns of V_{l-1} that S keeps: the smaller width."""
        return min(self.d_in, self.d_out)

    def apply(self, tile: Tile, V: Any) -> Any:
        """Return ``S V`` (m, d_out) for the rows V (m, d_in) of a tile: V, or a work array."""
        if self.d_in == self.d_out:
            return V
        SV = tile.work.of(SkipWork).SV.array((len(V), self.d_out), V.dtype)
        self.write(SV, V)
        return SV

    def write(self, SV: Any, V: Any) -> None:
        """Write ``S V`` into the array SV (m, d_out); V has d_in columns or more."""
        SV[:, : self.shared] = V[:, : self.shared]
        SV[:, self.shared :] = 0.0

    def curvature(self, gamma: float) -> Any:
        """Return ``gamma (1 + S^T S)``: a number, or one for each column where they differ."""
        if self.shared == self.d_in:
            return gamma * 2.0
        return gamma * (1.0 + (np.arange(self.d_in) < self.shared))


def column_groups(skip: Skip | None) -> list[tuple[slice, bool]]:
    """Return slices of columns of V_{l-1} that S treats alike, each with True if S keeps them."""
    if skip is None:
        return [(slice(None), False)]
    if skip.d_in == skip.d_out:
        return [(slice(None), True)]
    groups = [(slice(0, skip.shared), True)]
    return groups if skip.shared == skip.d_in else [*groups, (slice(skip.shared, None), False)]


def curvature(skip: Skip | None, gamma: float) -> Any:
    """Return ``gamma (1 + S^T S)``, which is gamma without a skip."""
    return gamma if skip is None else skip.curvature(gamma)
