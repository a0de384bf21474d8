"""These tests are about the kernels and the device of the GPU, most of them without one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Helpers beside the tests, and those of the other tests.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
    # The simulator polls its threads in a loop, which would keep the interpreter from them.
    sys.setswitchinterval(1e-5)
