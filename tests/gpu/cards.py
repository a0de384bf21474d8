"""Where the suite of the GPU runs: on a GPU, or on the processor that stands in for one."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest


def missing() -> str | None:
    """The reason why the GPU's machine code cannot be executed on the processor."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return "NUMBA_ENABLE_CUDASIM=1 asks for the simulator, not for compiled code"
    if any(importlib.util.find_spec(name) is None for name in ("numba_cuda", "cuda")):
        return "needs numba-cuda: pip install 'numba-cuda[cu13]>=0.30,<1'"
    return None if shutil.which("gcc") else "needs gcc"


class GPU:
    """The GPU, by CuPy."""

    def __init__(self) -> None:
        if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
            pytest.skip("NUMBA_ENABLE_CUDASIM=1 asks for the simulator, not for the GPU")
        from fastbcd import InputError
        from fastbcd.devices.cuda.library import Library
        from fastbcd.devices.ranks import SingleProcess

        try:
            Library("float32", SingleProcess())
        except InputError as problem:
            pytest.skip(str(problem))
        import cupy

        self.array, self.numpy = cupy.asarray, cupy.asnumpy


class Executed:
    """Compiled kernels on the processor, `host_library` in CuPy's place."""

    def array(self, data: Any, dtype: Any = None) -> Any:
        from host_library import DeviceArray

        return np.array(data, dtype).view(DeviceArray)

    def numpy(self, array: Any) -> Any:
        return np.array(np.asarray(array))


@contextmanager
def executing(**options: Any) -> Iterator[Any]:
    """Within the context ``device="cuda"`` runs on the processor; `executed.Card`'s options."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    from executed import Card
    from host_library import HostLibrary

    from fastbcd.devices.cuda.device import CUDA

    former = CUDA._library
    CUDA._library = lambda device: HostLibrary()  # type: ignore[method-assign]
    try:
        with Card(**options).running() as card:
            yield card
    finally:
        CUDA._library = former  # type: ignore[method-assign]
