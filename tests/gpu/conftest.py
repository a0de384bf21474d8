"""Tests of the kernels and the device of the GPU; most of them need no GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

# The helpers in this folder, and those of the other tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


@pytest.fixture(params=["executed", pytest.param("gpu", marks=pytest.mark.gpu)])
def card(request: Any) -> Any:
    """The card of ``device="cuda"``: the GPU's machine code on the processor, or the GPU."""
    from cards import GPU, Executed, executing

    if request.param == "gpu":
        yield GPU()
    else:
        with executing(checked=True):
            yield Executed()


def pytest_collection_modifyitems(items: Any) -> None:
    """Mark tests that run the GPU's machine code on the processor: CI has no time for them."""
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("card") == "executed":
            item.add_marker(pytest.mark.soak)


@pytest.fixture
def gpu() -> Any:
    """The GPU itself."""
    from cards import GPU

    return GPU()


if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    import simulator  # noqa: F401 - importing it puts it in place
