"""Kernels for a profiler of hardware counters: each elementwise kernel of the U- and V-block once.

    ncu --clock-control none --section SpeedOfLight --section Occupancy --section WarpStateStats \
        -k 'regex:_update|_center|_displacement|_activate' python benchmarks/gpu/counters.py
"""

from __future__ import annotations

import numpy as np
from common import WIDTHS, N

from fastbcd import Problem, ThreeSplitting, kernels


def main() -> None:
    """Launch."""
    import cupy

    device = ThreeSplitting(Problem((784, 8, 10)), device="cuda").device
    with device.session():
        A, B, C = (cupy.random.standard_normal((N, WIDTHS[1]), np.float32) for _ in range(3))
        gpu = device.kernels
        for name in ("relu", "leaky_relu", "tanh"):
            act = kernels.ACTIVATIONS[name]()
            gpu.update_preactivation(A, act, B, None, C, 1.0, 1.0, 0.1, None)
            gpu.state_center(A, act, B, None, act, C, None, 1.0)
            gpu.displacement(C, None, B, act, 1.0, 16.0)
            gpu.activate(A, act, B, None)


if __name__ == "__main__":
    main()
