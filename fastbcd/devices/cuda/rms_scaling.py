"""Sizes of a mini-batch's displacements on the GPU, where nobody waits for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.kernels import cuda as kernels

# Passes over the first batch, whose gains are a guess: the first measures them. Later batches
# take one: one that is far off corrects the gains, as on the CPU, but for the batch after it.
FIRST_PASSES = 2


class RMSScaling:
    """As `fastbcd.devices.rms_scaling.RMSScaling`, with arrays of the GPU in place of numbers."""

    def __init__(
        self,
        device: Any,
        state: Any,
        counts: Any,
        responses: Any,
        displacement: float,
        rounding: float,
        share: float,
    ) -> None:
        self._state, self._failures = state, device.failures
        for name in ("gains", "rms_U", "rms_D"):  # from a checkpoint they come to the processor
            setattr(state, name, device.array(getattr(state, name), np.float64))
        held = state.cache.setdefault("sizes", {})
        key = tuple(counts)
        if key not in held:
            held[key] = [device.array(a, np.float64) for a in (counts, responses)]
        self._counts, self._responses = held[key]
        if "vectors" not in held:
            held["vectors"] = [device.zeros((len(counts),), np.float64) for _ in range(3)]
        self._scale, self._weight, self._reach = held["vectors"]
        self._displacement, self._rounding, self._share = displacement, rounding, share
        self.passes = FIRST_PASSES if state.batches == 0 else 1

    def scale(self) -> Any:
        """What D_{l+1} counts times on its way down, from sizes and gains of the batch before."""
        state = self._state
        kernels.batch_scale(self._scale, state.gains, state.rms_U, state.rms_D, self._displacement)
        return self._scale

    def settle(self, squares: Any) -> bool:
        """Take ``|U_l|^2`` and ``|D_l|^2`` (2, L + 1); how many passes follow is fixed."""
        state = self._state
        kernels.batch_sizes(
            *(self._weight, self._reach, state.gains, state.rms_U, state.rms_D, self._scale),
            *(squares, self._counts, self._responses, self._share, self._rounding),
            self._failures,
        )
        return False

    def weights(self) -> tuple[Any, Any]:
        """Weights of the steps and reaches of the gradient; (L + 1,) each."""
        return self._weight, self._reach

    def moves(self, weight: Any) -> bool:
        """True: a step of length 0 is taken, too."""
        return True
