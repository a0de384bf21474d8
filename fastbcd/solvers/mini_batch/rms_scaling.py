"""The sizes of a mini-batch's updates: what scales them, and what steps of W make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.devices.protocol import Device


@dataclass(frozen=True)
class Sizes:
    """Numbers of a network that the scaling needs; (L + 1,) arrays have an element a layer.

    Attributes
    ----------
    counts : (L + 1,) float64 array
        Elements of U_l in this batch.
    responses : (L + 1,) float64 array
        How far a unit of ``D_{l+1} W_{l+1}`` (l = L: of the loss's slope) moves U_l.
    displacement : float
        rms(D_l) is to be this times rms(U_l).
    rounding : float
        ``rms(D_L) <= rounding rms(U_L)`` means that nothing is left to learn.
    """

    counts: NDArray[np.float64]
    responses: NDArray[np.float64]
    displacement: float
    rounding: float


class RMSScaling:
    """Root mean squares of U_l and D_l, and gain ratios ``rms(D_l) / rms(D_{l+1})``, l = 1..L.

    `scale` comes from sizes and gain ratios of the batch before, so that each tile can go through
    all layers, up and down, in one piece. Where this batch is so different that its updates miss
    their size by far, `settle` asks for another pass, with its own sizes; a GPU, which is not
    asked, takes a second pass over the first batch only. `fastbcd.kernels.rms_scaling` has the
    formulas.

    Parameters
    ----------
    device : Device
    state : MiniBatchState
        Its ``gains``, ``rms_U`` and ``rms_D`` (L + 1,) are renewed.
    sizes : Sizes
    share : float, or array (1,) of a GPU
        A step's weight is this over rms(D_l).
    """

    weight: Any
    """(L + 1,): what ``D_l^T V^_{l-1}`` weighs in the momentum; 0 where nothing moves."""
    gradient_scale: Any
    """(L + 1,): how far a unit of the loss's negative gradient moves U_l, over rms(D_l)."""

    def __init__(self, device: Device, state: Any, sizes: Sizes, share: Any) -> None:
        self._device, self._state, self._sizes, self._share = device, state, sizes, share
        for name in ("gains", "rms_U", "rms_D"):  # from a checkpoint they come to the processor
            setattr(state, name, device.array(getattr(state, name), np.float64))
        held = state.cache.setdefault("sizes", {})
        key = tuple(sizes.counts)
        if key not in held:  # a graph reads them where they are
            held[key] = [device.array(a, np.float64) for a in (sizes.counts, sizes.responses)]
        if "vectors" not in held:
            held["vectors"] = [device.zeros(sizes.counts.shape, np.float64) for _ in range(3)]
        self._counts, self._responses = held[key]
        self._scale, self.weight, self.gradient_scale = held["vectors"]
        self.passes = device.batches.passes(first=state.batches == 0)
        """Passes over a batch, at most."""

    def scale(self) -> Any:
        """The factor of D_{l+1} on its way down, from sizes and gain ratios of the batch before."""
        state = self._state
        self._device.kernels.layer_scales(
            self._scale, state.gains, state.rms_U, state.rms_D, self._sizes.displacement
        )
        return self._scale

    def settle(self, squares: Any) -> bool:
        """Take ``|U_l|^2`` and ``|D_l|^2`` (2, L + 1) of this batch; False to have another pass.

        `FloatingPointError` where they are not finite, now or when the device's session ends.
        """
        state, sizes = self._state, self._sizes
        status = self._device.kernels.settle_sizes(
            self.weight,
            self.gradient_scale,
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
        """Whether layer l is to take a penalty's proximal step."""
        return self._device.batches.is_positive(self.weight[l])
