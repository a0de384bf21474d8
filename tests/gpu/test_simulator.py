"""Every kernel of the GPU agrees with the CPU's in Numba's simulator: all formulas, both types."""

from __future__ import annotations

from typing import Any

import needs_simulator  # noqa: F401 - skips this module without it
import numpy as np
import pytest
from agreement import check
from cases import Case, cases, is_rare, named_cases
from share import share

import fastbcd.kernels.cuda as target
from fastbcd.kernels.cuda import target as target_of_launches

CASES = named_cases()


def parameter(name: str) -> Any:
    """Mark rare cases as slow; ``pytest -m slow tests/gpu`` runs them.

    `test_device_images` runs the kernels of images, too.
    """
    case = CASES[name]
    slow = case.of_images or is_rare(case, name.rsplit("-", 1)[1])
    return pytest.param(name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("name", [parameter(name) for name in share(CASES, at_most=7)])
def test_a_kernel_gives_what_the_cpu_gives(name: str) -> None:
    case: Case = CASES[name]
    check(case, target)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matrices_of_whole_lines_give_what_the_cpu_gives(dtype: str) -> None:
    tried = set()
    for case in cases(dtype, M=8, D=12):
        name = case.name.split(", ")[0]
        matrices = [a for a in case.arguments if getattr(a, "shape", None) == (8, 12)]
        if len(matrices) > 1 and name in ("relu", "l1", "", "number", "array"):
            check(case, target)
            tried.add(case.function)
    assert {"activate", "update_preactivation", "squared_distance", "scaled"} <= tried


def test_every_kernel_has_a_case() -> None:
    tested = {case.function for case in CASES.values()}
    assert set(target.__all__) - tested == {"launching"}


def test_a_number_that_is_not_finite_raises_the_flag() -> None:
    for gram in (np.diag([1.0, np.inf]), np.diag([np.nan, 1.0])):
        flag = np.zeros(1, np.int32)
        target.scaled_system(np.empty((2, 2)), np.empty(2), gram, 1.0, 0.0, 0.0, 0.0, flag)
        assert flag[0] == 1


def test_a_metric_that_is_not_finite_stays_as_it_is_and_raises_the_flag() -> None:
    for squares, trace in (([4.0, np.inf], 3.0), ([4.0, np.nan], 3.0), ([4.0, 1.0], np.inf)):
        flag, level = np.zeros(1, np.int32), np.ones(1)
        c, scale, kept, shrinkage = np.zeros(2), np.zeros(2), np.ones(2), np.zeros(1)
        batches = np.ones(1)
        target.ritz_values(
            c,
            scale,
            kept,
            shrinkage,
            level,
            np.diag(squares),
            np.eye(2),
            np.array([trace]),
            batches,
            5,
            5.0,
            3.5,
            0.5,
            8,
            flag,
        )
        assert batches[0] == kept.sum() == 0.0
        assert flag[0] == 1
        assert level[0] == shrinkage[0] == 1.0
        assert (scale < 0.0).all()


def test_rows_are_lined_up_where_places_mean_nothing() -> None:
    A, B = (np.arange(24.0 * 16).reshape(24, 16) for _ in range(2))
    shape, (first, second, number) = target_of_launches._aligned((24, 16), (A, B, 0.5))
    assert shape == first.shape == second.shape == (3, 128)
    assert np.shares_memory(first, A)
    assert number == 0.5
    # Columns of a wider matrix are not moved, and neither are arrays without whole lines.
    for matrices in ((A, np.zeros((24, 17))[:, :-1]), (np.zeros((3, 5)), np.ones((3, 5)))):
        shape, unchanged = target_of_launches._aligned(matrices[0].shape, matrices)
        assert shape == matrices[0].shape
        assert all(a is b for a, b in zip(unchanged, matrices, strict=True))
