"""Run a case on the CPU and on another target, and compare all that it wrote and returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cases import Case, Work

from fastbcd import kernels


def arguments_of(case: Case, gpu: bool, to_device: Callable[[Any], Any]) -> list[Any]:
    """Return copies of the arguments of a case, with the work space of the target."""
    arguments: list[Any] = []
    for given in case.arguments:
        if isinstance(given, Work):
            given = np.zeros(given.gpu if gpu else given.cpu)
        if isinstance(given, np.ndarray):
            base = np.array(given.base if given.base is not None and given.ndim == 2 else given)
            view = base[:, : given.shape[1]] if base.shape != given.shape else base
            if view.shape != given.shape:
                view = np.array(given)
            view[:] = given
            given = to_device(view)
        arguments.append(given)
    return arguments


def check(
    case: Case,
    target: Any,
    to_device: Callable[[Any], Any] = lambda array: array,
    to_host: Callable[[Any], Any] = np.asarray,
    slack: float = 1.0,
) -> None:
    """Raise `AssertionError` if the functions of target and CPU disagree.

    `slack` is a factor of the case's tolerance.
    """
    allowed = slack * case.tolerance
    expected = case.expected or getattr(kernels, case.function)
    ours = arguments_of(case, False, lambda array: array)
    theirs = arguments_of(case, True, to_device)
    value, other = expected(*ours), getattr(target, case.function)(*theirs)
    types = [a.dtype for a in ours if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
    eps = max((float(np.finfo(t).eps) for t in types), default=0.0)
    if isinstance(value, float):
        np.testing.assert_allclose(float(to_host(other)), value, rtol=allowed * eps)
    for given, a, b in zip(case.arguments, ours, theirs, strict=True):
        if isinstance(given, np.ndarray):
            scale = max(float(abs(a).max()), 1e-300)
            np.testing.assert_allclose(to_host(b), a, rtol=0, atol=allowed * eps * scale)
