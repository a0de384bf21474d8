"""Scales and root mean squares of a mini-batch's updates, against their formulas in NumPy."""

import numpy as np
import pytest

from fastbcd import kernels
from fastbcd.kernels.rms_scaling import ANOTHER_PASS, NOT_FINITE, SETTLED

L, DISPLACEMENT, ROUNDING, SHARE = 4, 1e-3, 1e-6, 0.02


def sizes_before(rng):
    return [rng.uniform(0.1, 3.0, L + 1) for _ in range(3)]


def test_a_scale_gives_each_update_the_size_that_its_layer_is_to_have():
    gain_ratios, rms_U, rms_D = sizes_before(np.random.default_rng(0))
    scale = np.empty(L + 1)
    kernels.layer_scales(scale, gain_ratios, rms_U, rms_D, DISPLACEMENT)
    size = rms_D[L]
    assert scale[L] == 1.0
    for l in range(L - 1, 0, -1):
        size *= gain_ratios[l] * scale[l]
        assert size == pytest.approx(DISPLACEMENT * rms_U[l])


@pytest.mark.parametrize("size_of_D1", [1.0, 40.0, 0.02])
def test_sizes_gains_and_weights_are_those_of_the_batch(size_of_D1):
    rng = np.random.default_rng(1)
    gain_ratios, rms_U, rms_D = sizes_before(rng)
    counts, responses, scale = (rng.uniform(1.0, 9.0, L + 1) for _ in range(3))
    new_U = rng.uniform(0.5, 2.0, L + 1)
    new_D = DISPLACEMENT * new_U
    new_D[1] *= size_of_D1
    squares = np.array([new_U, new_D]) ** 2 * counts
    weight, gradient_scale = np.empty(L + 1), np.empty(L + 1)
    status = kernels.settle_sizes(
        weight, gradient_scale, gain_ratios, rms_U, rms_D, scale, squares, counts, responses,
        DISPLACEMENT, ROUNDING, SHARE,
    )  # fmt: skip
    assert status == (SETTLED if size_of_D1 == 1.0 else ANOTHER_PASS)
    np.testing.assert_allclose([rms_U, rms_D], [new_U, new_D])
    np.testing.assert_allclose(gain_ratios[1:L], new_D[1:L] / (scale[1:L] * new_D[2:]))
    np.testing.assert_allclose(weight[1:], SHARE / new_D[1:])
    # Updates of U_l by a unit of the loss's negative gradient: products of responses and scales.
    moved = np.cumprod((responses * np.r_[scale[:L], 1.0])[:0:-1])[::-1]
    np.testing.assert_allclose(gradient_scale[1:], moved / new_D[1:])


def test_nothing_changes_where_nothing_is_left_to_learn_or_a_size_is_not_finite():
    for squares, status in (
        (np.array([[1.0] * (L + 1), [1.0] * L + [1e-16]]), SETTLED),
        (np.array([[1.0] * (L + 1), [1.0] * L + [np.inf]]), NOT_FINITE),
        (np.array([[np.nan] * (L + 1), [1.0] * (L + 1)]), NOT_FINITE),
    ):
        before = sizes_before(np.random.default_rng(2))
        after = [a.copy() for a in before]
        weight, gradient_scale, ones = np.ones(L + 1), np.ones(L + 1), np.ones(L + 1)
        found = kernels.settle_sizes(
            weight, gradient_scale, *after, ones, squares, ones, ones, DISPLACEMENT, ROUNDING, SHARE
        )
        assert found == status
        np.testing.assert_array_equal(after, before)
        assert not weight.any()
        assert not gradient_scale.any()


def test_a_layer_that_does_not_move_has_no_weight_and_keeps_its_gain():
    gain_ratios, rms_U, rms_D = sizes_before(np.random.default_rng(3))
    kept = gain_ratios[2]
    squares = np.array([[1.0] * (L + 1), [1e-6] * (L + 1)])
    squares[1, 2] = 0.0
    weight, gradient_scale, ones = np.empty(L + 1), np.empty(L + 1), np.ones(L + 1)
    kernels.settle_sizes(
        weight, gradient_scale, gain_ratios, rms_U, rms_D, ones, squares, ones, ones,
        DISPLACEMENT, ROUNDING, SHARE,
    )  # fmt: skip
    assert (gain_ratios[2], weight[2], gradient_scale[2]) == (kept, 0.0, 0.0)
    assert (weight[[1, 3, 4]] > 0.0).all()
