"""The cards of the GPU's test suite: a GPU, or a processor that runs its machine code."""

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
    """Return why the GPU's machine code cannot run on the processor; None if it can."""
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
    """Compiled kernels on the processor, with `host_library` in place of CuPy."""

    def array(self, data: Any, dtype: Any = None) -> Any:
        from host_library import DeviceArray

        return np.array(data, dtype).view(DeviceArray)

    def numpy(self, array: Any) -> Any:
        return np.array(np.asarray(array))


@contextmanager
def executing(**options: Any) -> Iterator[Any]:
    """A context in which ``device="cuda"`` runs on the processor; options of `executed.Card`."""
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
