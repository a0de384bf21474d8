"""Numbers in bfloat16: the upper half of a float32's bits, with 8 significant bits, as a uint16."""

from __future__ import annotations

import numpy as np

from fastbcd.kernels.jit import straight


@straight
def bfloat16_bits(x):
    """Return the bits of `x`, rounded to the nearest bfloat16, ties to even; NaN stays NaN."""
    bits = np.float32(x).view(np.uint32)
    upper = np.uint32(bits >> np.uint32(16))
    # Adding just below a half, and 1 more if the upper half is odd, carries where it must round up.
    rounded = np.uint32(bits + np.uint32(0x7FFF) + np.uint32(upper & np.uint32(1)))
    nan = np.uint32(bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.uint16(upper | np.uint32(0x40) if nan else rounded >> np.uint32(16))


@straight
def bfloat16_value(bits):
    """Return the float32 that `bits`, those of a bfloat16, stand for."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)
