"""A module of tests that imports this first is skipped, unless Numba's simulator is chosen."""

from __future__ import annotations

import os

import pytest

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    pytest.skip(
        "the simulator is chosen before Numba starts: NUMBA_ENABLE_CUDASIM=1 pytest tests/gpu",
        allow_module_level=True,
    )
