"""The CUDA device. Importing this asks for no GPU and no package of the extra; making one does."""

from __future__ import annotations

from fastbcd.devices.cuda.device import CUDA

__all__ = ["CUDA"]
