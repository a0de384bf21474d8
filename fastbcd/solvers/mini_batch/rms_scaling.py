"""The scales of a mini-batch's updates D_l, and the weights that steps of W give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device


@dataclass(frozen=True)
class Sizes:
    """Numbers of a network that the scaling needs; (L + 1,) arrays have one element per layer.

    Attributes
    ----------
    counts : (L + 1,) float64 array
        Number of elements of U_l in this batch.
    responses : (L + 1,) float64 array
        Update of U_l by a unit of ``D_{l+1} W_{l+1}`` (l = L: by a unit of the loss's slope).
    displacement : float
        The scaling aims at ``rms(D_l) = displacement rms(U_l)``.
    rounding : float
        The fit counts as exact if ``rms(D_L) <= rounding rms(U_L)``.
    """

    counts: NDArray[np.float64]
    responses: NDArray[np.float64]
    displacement: float
    rounding: float


class RMSScaling:
    """Root mean squares of U_l and D_l; gain ratios ``rms(D_l) / (scale_l rms(D_{l+1}))``.

    `scale` uses sizes and gain ratios of the batch before. So a tile can pass through all layers,
    up and down, without a wait for the other tiles. If the updates of this batch miss their size by
    far, `settle` asks for another pass with the sizes of this batch. A GPU takes a second pass over
    the first batch only, because nothing waits for its answer. `fastbcd.kernels.rms_scaling` has
    the formulas.

    Parameters
    ----------
    device : Device
    state : MiniBatchState
        Its ``gains`` (the gain ratios), ``rms_U`` and ``rms_D``, all (L + 1,), are updated.
    sizes : Sizes
    share : float, or array (1,) of a GPU
        The weight of layer l is ``share / rms(D_l)``.
    """

    weight: Any
    """(L + 1,) weights of ``D_l^T V^_{l-1}`` in the momentum; 0 where nothing moves."""
    gradient_response: Any
    """(L + 1,) updates of U_l by a unit of the loss's negative gradient, divided by rms(D_l)."""

    def __init__(self, device: Device, state: Any, sizes: Sizes, share: Any) -> None:
        self._device, self._state, self._sizes, self._share = device, state, sizes, share
        for name in ("gains", "rms_U", "rms_D"):  # a checkpoint has them on the processor
            setattr(state, name, device.array(getattr(state, name), np.float64))
        held, key = state.cache.counts_and_responses, tuple(sizes.counts)
        if key not in held:  # a CUDA graph reads them at a fixed address
            held[key] = [device.array(a, np.float64) for a in (sizes.counts, sizes.responses)]
        if not state.cache.scaling:
            shape = sizes.counts.shape
            state.cache.scaling = [device.zeros(shape, np.float64) for _ in range(3)]
        self._counts, self._responses = held[key]
        self._scale, self.weight, self.gradient_response = state.cache.scaling
        self.passes = device.batches.passes(first=state.batches == 0)
        """The largest number of passes over a batch."""

    def scale(self) -> Any:
        """Return the factors (L + 1,) of D_{l+1} in the V_l-blocks, from the batch before."""
        state = self._state
        self._device.kernels.layer_scales(
            self._scale, state.gains, state.rms_U, state.rms_D, self._sizes.displacement
        )
        return self._scale

    def settle(self, squares: Any) -> bool:
        """Take over `squares` (2, L + 1), ``|U_l|^2`` and ``|D_l|^2`` of this batch.

        Returns False if another pass is needed. `FloatingPointError` if they are not finite, here
        or at the end of the device's session.
        """
        state, sizes = self._state, self._sizes
        status = self._device.kernels.settle_sizes(
            self.weight,
            self.gradient_response,
            state.gains,
            state.rms_U,
            state.rms_D,
            self._scale,
            squares,
            self._counts,
            self._responses,
            sizes.displacement,
            sizes.rounding,
            self._share,
        )
        return self._device.batches.settled(status)

    def moves(self, l: int) -> bool:
        """Return whether layer l moves, and so takes the proximal step of its penalty."""
        return self._device.batches.is_positive(self.weight[l])
