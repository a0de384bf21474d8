"""The V_l-block below a convolution: a few steps of descent for each image, without a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Penalty
from fastbcd.layers.base import CenterWork
from fastbcd.layers.convolution import ConvolutionOperator

# Each of the work arrays of a group of images has at most so many bytes, so that all stay in cache.
ARRAY_BYTES, ARRAY_COUNT = 2**18, 7


class DescentWork(Workspace):
    """Work arrays of a group of images."""

    slope: Buffer
    direction: Buffer
    image: Buffer
    old: Buffer
    residual: Buffer
    through: Buffer
    numbers: Buffer


class ConvolutionStateBlock:
    """Descent on ``f(V) = s(V) + kappa/2 |V - C|^2 + rho/2 |U - A V|^2`` from the old V.

    .. code-block:: text

        s a ridge    conjugate gradients on (kappa I + rho A*A) (V - V') = -grad f(V')
        any other s  V = prox_s(V - grad / L, 1 / L),  L = kappa + rho |A|_1 |A|_inf

    A sample has step lengths of its own and stops when its gradient is rounding, or when f would
    not fall. ``f(V') - f(V) >= kappa/2 |V - V'|^2`` holds after any number of steps: see
    docs/mathematics.md.

    Parameters
    ----------
    device : Device
    operator : ConvolutionOperator
        The layer above the states.
    penalty : Penalty
        s.
    kappa : float, or (d_in,) array
        > 0; an array has one number for each column of V.
    rho : float, or array (1,) of a GPU
        > 0.
    steps : int
        The largest number of steps.
    """

    def __init__(
        self,
        device: Device,
        operator: ConvolutionOperator,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        steps: int,
    ) -> None:
        self.operator, self.penalty = operator, penalty
        self._device, self._rho, self._steps = device, rho, steps
        ridge = penalty.ridge
        self.scale = 1.0 if ridge is None else kappa / (kappa + ridge)
        dtype, d_in = operator.bias.dtype, int(np.prod(operator.shapes.image))
        columns = np.full(d_in, np.asarray(kappa) + (ridge or 0.0), dtype)
        self._kappa = device.array(columns, dtype)
        if ridge is None:
            self._curvature = float(columns.max()) + rho * operator.squared_norm_bound()

    def center(self, tile: Tile, V: Any) -> Any:
        """Return memory for C; the descent starts from the old V."""
        return tile.work.of(CenterWork).center.array(V.shape, V.dtype)

    def solve(self, tile: Tile, V: Any, C: Any, U: Any, decrease: Any, *sample_weight: Any) -> None:
        """Lower f for each sample of a tile; see `fastbcd.layers.StateBlock`."""
        kernels, work = self._device.kernels, tile.work.of(DescentWork)
        at_once = self._device.group_bytes(ARRAY_BYTES)
        size = max(1, at_once // (max(V.shape[1], U.shape[1]) * V.itemsize))
        descend = self._proximal_gradient if self.penalty.ridge is None else self._conjugate
        for start in range(0, len(V), size):
            rows = slice(start, min(start + size, len(V)))
            part, weight = V[rows], [c[rows] for c in sample_weight]
            old = work.old.array(part.shape, V.dtype)
            old[:] = part
            residual = work.residual.array((len(part), U.shape[1]), V.dtype)
            self.operator.apply(residual, part)
            np.subtract(U[rows], residual, out=residual)
            descend(work, part, C[rows], residual, decrease, weight)
            if decrease is not None:
                decrease[1] += kernels.squared_distance(part, old, *weight)

    def _slope(self, work: DescentWork, V: Any, C: Any, residual: Any) -> Any:
        """Return minus the gradient of the smooth part of f, given ``U - A V``."""
        slope = work.slope.array(V.shape, V.dtype)
        self.operator.adjoint(slope, residual)
        self._device.kernels.state_slope(slope, V, C, self._kappa, self._rho)
        return slope

    def _conjugate(
        self, work: DescentWork, V: Any, C: Any, residual: Any, decrease: Any, weight: list[Any]
    ) -> None:
        """Do steps of conjugate gradients for a group of images."""
        kernels, operator = self._device.kernels, self.operator
        slope = self._slope(work, V, C, residual)
        P = work.direction.array(V.shape, V.dtype)
        P[:] = slope
        HP = work.image.array(V.shape, V.dtype)
        through = work.through.array(residual.shape, V.dtype)
        squares, least = work.numbers.array((2, len(V)), np.float64)
        kernels.row_squares(squares, slope)
        # A slope of this size is rounding.
        np.multiply(squares, float(np.finfo(V.dtype).eps) ** 2, out=least)
        for _ in range(self._steps):
            operator.apply_linear(through, P)
            operator.adjoint(HP, through)
            moving = kernels.conjugate_step(
                V, slope, P, HP, self._kappa, self._rho, squares, least, decrease, *weight
            )
            if moving == 0:
                break

    def _proximal_gradient(
        self, work: DescentWork, V: Any, C: Any, residual: Any, decrease: Any, weight: list[Any]
    ) -> None:
        """Do steps of the proximal gradient for a group of images."""
        kernels, penalty = self._device.kernels, self.penalty
        old = work.old.array(V.shape, V.dtype)
        step = work.direction.array(V.shape, V.dtype)
        through = work.through.array(residual.shape, V.dtype)
        fallen = work.numbers.array((len(V),), np.float64)
        fallen[:] = 0.0
        for _ in range(self._steps):
            slope = self._slope(work, V, C, residual)
            kernels.proximal_step(step, V, slope, penalty, self._curvature)
            self.operator.apply_linear(through, step)
            moved = kernels.accept_step(
                V,
                old,
                step,
                through,
                residual,
                slope,
                penalty,
                self._kappa,
                self._rho,
                fallen,
                decrease,
                *weight,
            )
            if moved == 0:
                break
