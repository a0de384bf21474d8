"""Devices: they hold arrays and run block updates. Solvers do not know which one they have."""

from __future__ import annotations

from typing import Any

from fastbcd.devices.cpu import CPU
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import Ranks, SingleProcess
from fastbcd.devices.storage.arrays import Disk, Storage
from fastbcd.errors import InputError
from fastbcd.kernels import bf16
from fastbcd.support.parameters import choice

DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "tf32", "bf16")


def get_device(
    name: str,
    n_threads: int | None,
    tile_rows: int | None,
    ranks: Ranks | None = None,
    storage: Storage | None = None,
    precision: str = "float32",
    dtype: Any = "float32",
) -> Device:
    """Return the device called `name`, which multiplies arrays of `dtype` in that precision.

    `InputError` if there is no such device on this machine; no other device takes its place.
    """
    name = choice(name, DEVICES, "device")
    precision = choice(precision, PRECISIONS, "precision")
    _check_precision(name, precision, str(dtype))
    ranks = SingleProcess() if ranks is None else ranks
    if name == "cpu":
        return CPU(n_threads, tile_rows, ranks, storage, precision)
    if isinstance(storage, Disk):
        raise InputError(
            "memory: runs out of core are for the processor; leave memory out, or device='cuda'"
        )
    from fastbcd.devices.cuda import CUDA  # imported here, because it needs packages of an extra

    return CUDA(n_threads, tile_rows, ranks, precision)


def _check_precision(device: str, precision: str, dtype: str) -> None:
    """Raise an `InputError` if `device` cannot multiply arrays of `dtype` in that precision."""
    if precision != "float32" and dtype != "float32":
        raise InputError(
            f"precision: {precision} is for float32 products; leave it out, or give "
            f"dtype='float32' (now {dtype!r})"
        )
    if precision == "tf32" and device != "cuda":
        raise InputError(
            "precision: tf32 is for float32 products on a GPU; leave it out, or give device='cuda'"
        )
    if precision == "bf16" and device == "cpu" and not bf16.AVAILABLE:
        raise InputError(
            "precision: bf16 on the processor needs its instructions AVX512-BF16 and compiled "
            "kernels, and one of the two is missing here; leave it out, or give device='cuda'"
        )


__all__ = ["CPU", "DEVICES", "PRECISIONS", "get_device"]
