"""Algorithm 1's V_l-block below a nonlinear layer: quadratic surrogates, each with a search."""

from __future__ import annotations

from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Formula
from fastbcd.layers.base import StateBlock


class SurrogateWork(Workspace):
    """Work arrays of a tile."""

    center: Buffer
    scaled_center: Buffer
    Z: Buffer
    target: Buffer
    end: Buffer
    change: Buffer
    P: Buffer


class NonlinearStateBlock:
    """Descent on the V_l-block, sample by sample, because it has no closed form.

    ``s(V) + gamma/2 |V - A|^2 + gamma/2 |V_next - act(Z)|^2 + alpha/2 |V - V'|^2`` with
    ``Z = V^ W^T`` of the layer above, ``A = act(U)`` of the layer itself, V' the old V.

    Parameters
    ----------
    device : Device
    surrogate : StateBlock
        The block of the quadratic surrogate, with ``kappa = gamma + alpha``, ``rho = gamma c``. Its
        operator is linear.
    activation : Formula
        Activation of the layer above.
    curvature : float, or array (1,) of a GPU
        The c of the surrogates; see `fastbcd.kernels.surrogate`.
    gamma, alpha : float
    """

    def __init__(
        self,
        device: Device,
        surrogate: StateBlock,
        activation: Formula,
        curvature: Any,
        gamma: float,
        alpha: float,
    ) -> None:
        self._device, self._surrogate = device, surrogate
        self._activation, self._curvature = activation, curvature
        self._gamma, self._alpha = gamma, alpha

    def update(
        self,
        tile: Tile,
        V: Any,
        A: Any,
        V_next: Any,
        steps: int,
        decrease: Any,
        *sample_weight: Any,
    ) -> None:
        """Update V (m, d) of one tile in place by `steps` surrogates.

        A (m, d), V_next (m, d_next); `decrease` and `sample_weight` as in
        `fastbcd.layers.StateBlock`.
        """
        kernels, work = self._device.kernels, tile.work.of(SurrogateWork)
        gamma, alpha, penalty = self._gamma, self._alpha, self._surrogate.penalty
        above: Any = self._surrogate.operator
        activation = self._activation
        # gamma/2 |V - A|^2 + alpha/2 |V - V'|^2 = (gamma + alpha)/2 |V - C|^2 + const
        C = work.center.array(V.shape, V.dtype)
        kernels.proximal_center(C, A, V, gamma, alpha)
        Z = work.Z.array(V_next.shape, V.dtype)
        above.apply(Z, V)
        terms = (V, A, penalty, Z, activation, V_next, gamma, *sample_weight)
        if decrease is not None:
            before, old = kernels.state_terms(*terms), V.copy()
        P = work.P.array(Z.shape, V.dtype)
        for _ in range(steps):
            end = self._minimiser_of_surrogate(tile, V, C, Z, V_next)
            change = work.change.array(V.shape, V.dtype)
            change[...] = end
            change -= V
            above.apply_linear(P, change)
            kernels.search_states(
                V, end, C, Z, P, activation, V_next, penalty, gamma + alpha, gamma
            )
        if decrease is not None:
            decrease[0] += before - kernels.state_terms(*terms)
            decrease[1] += kernels.squared_distance(old, V, *sample_weight)

    def _minimiser_of_surrogate(self, tile: Tile, V: Any, C: Any, Z: Any, V_next: Any) -> Any:
        """Solve the V-block of Algorithm 2 with the surrogate's target in place of U."""
        kernels, work = self._device.kernels, tile.work.of(SurrogateWork)
        target = work.target.array(Z.shape, V.dtype)
        kernels.surrogate_residual(target, self._activation, V_next, Z, self._curvature)
        target += Z
        end = work.end.array(V.shape, V.dtype)
        end[...] = V
        scaled = work.scaled_center.array(V.shape, V.dtype)
        self._device.scaled(scaled, C, self._surrogate.scale)
        self._surrogate.solve(tile, end, scaled, target, None)
        return end
