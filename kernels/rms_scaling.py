"""Scales of the updates D_l of a mini-batch, from root mean squares of layers and their ratios.

Arrays have L + 1 elements, one for each layer l = 1..L; element 0 is not used. They are small, so
the GPU runs the same functions in one thread.
"""

from __future__ import annotations

import math

from fastbcd.kernels.jit import kernel_in_order

SETTLED, ANOTHER_PASS, NOT_FINITE = 0, 1, 2
# An update that misses its size by this factor is computed again.
TOLERANCE = 30.0


@kernel_in_order
def layer_scales(scale, gain_ratios, rms_U, rms_D, displacement):
    """``scale_l = displacement rms(U_l) / (gain_ratios_l size_{l+1})``: the factor of ``D_{l+1}``.

    .. code-block:: text

        size_l = displacement rms(U_l) for l < L,  size_L = rms(D_L)

    The V_l-block takes ``scale_l D_{l+1}``, which makes rms(D_l) about ``displacement rms(U_l)``.
    size_{l+1} is the intended rms(D_{l+1}), not that of the batch before, with which the
    fluctuation of each layer would double that of the next one.

    Parameters
    ----------
    scale : (L + 1,) float64 array
        Output; 1 for l = L.
    gain_ratios, rms_U, rms_D : (L + 1,) float64 arrays
        ``rms(D_l) / (scale_l rms(D_{l+1}))`` and root mean squares of the batch before.
    displacement : float
    """
    L = scale.shape[0] - 1
    scale[0] = scale[L] = 1.0
    size = rms_D[L]
    for l in range(L - 1, 0, -1):
        above = gain_ratios[l] * size
        size = displacement * rms_U[l]
        scale[l] = size / (above if above > 0.0 else 1.0)


@kernel_in_order
def settle_sizes(
    weight, gradient_scale, gain_ratios, rms_U, rms_D, scale, squares, counts, responses,
    displacement, rounding, share,
):  # fmt: skip
    """``weight_l = share / rms(D_l)``; also updates root mean squares and gain ratios.

    Parameters
    ----------
    weight, gradient_scale : (L + 1,) float64 arrays
        Output: ``share / rms(D_l)``, and the update of U_l by a unit of the loss's negative
        gradient divided by ``rms(D_l)``. Both are 0 where D_l is 0 or if the fit is exact.
    gain_ratios, rms_U, rms_D : (L + 1,) float64 arrays
        Updated to those of this batch, unless the fit is exact.
    scale : (L + 1,) float64 array
        The result of `layer_scales` with which the updates D_l were computed.
    squares : (2, L + 1) float64 array
        ``|U_l|^2`` and ``|D_l|^2`` on entry, their root mean squares on exit.
    counts, responses : (L + 1,) float64 arrays
        Number of elements of U_l, and update of U_l by a unit of ``D_{l+1} W_{l+1}``.
    displacement : float
        As in `layer_scales`.
    rounding : float
        The fit counts as exact if ``rms(D_L) <= rounding rms(U_L)``.
    share : float
        Numerator of the weights.

    Returns
    -------
    int
        `SETTLED`; `ANOTHER_PASS` if an update misses its size by more than `TOLERANCE`;
        `NOT_FINITE` if a square is not, and then gain_ratios, rms_U and rms_D keep their values.
    """
    L = scale.shape[0] - 1
    finite = True
    for l in range(L + 1):
        weight[l] = gradient_scale[l] = 0.0
        for k in range(2):
            squares[k, l] = math.sqrt(squares[k, l] / counts[l])
            finite = finite and math.isfinite(squares[k, l])
    if not finite:
        return NOT_FINITE
    if not squares[1, L] > rounding * squares[0, L]:
        return SETTLED
    status = SETTLED
    for l in range(L + 1):
        rms_U[l], rms_D[l] = squares[0, l], squares[1, l]
    for l in range(1, L):
        if rms_D[l] > 0.0 and rms_D[l + 1] > 0.0:
            gain_ratios[l] = rms_D[l] / (scale[l] * rms_D[l + 1])
            # The ratio is infinite if all pre-activations of a layer are 0.
            ratio = rms_D[l] / (displacement * rms_U[l]) if rms_U[l] > 0.0 else math.inf
            if not (1.0 / TOLERANCE < ratio < TOLERANCE):
                status = ANOTHER_PASS
    distance = 1.0
    for l in range(L, 0, -1):
        distance = responses[l] * (scale[l] * distance if l < L else 1.0)
        if rms_D[l] > 0.0:
            weight[l] = share / rms_D[l]
            gradient_scale[l] = distance / rms_D[l]
    return status
