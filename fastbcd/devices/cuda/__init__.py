"""The CUDA device. A GPU and the packages of the extra are needed to make one, not to import it."""

from __future__ import annotations

from fastbcd.devices.cuda.device import CUDA

__all__ = ["CUDA"]
