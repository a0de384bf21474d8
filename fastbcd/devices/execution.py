"""One record for all solvers that says where and how their work runs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fastbcd.devices import get_device
from fastbcd.devices.protocol import Device
from fastbcd.devices.ranks import get_ranks
from fastbcd.devices.storage.arrays import get_storage
from fastbcd.errors import InputError
from fastbcd.support.parameters import check_dtype


@dataclass(frozen=True)
class Execution:
    """Where and how the work of a solver runs; results depend on it by rounding only.

    Parameters
    ----------
    device : {"cpu", "cuda"}, default="cpu"
        With ``"cuda"`` the whole state is on the GPU. It needs the extra ``cuda13``; see
        docs/cuda.md.
    dtype : {"float32", "float64"}, default="float32"
        Type of storage and products; sums over samples and solves are in float64.
    n_threads : int, optional
        Default: as many as BLAS would use. Results do not depend on it.
    tile_rows : int, optional
        Number of samples in a tile; default: chosen from the cache size.
    comm : mpi4py.MPI.Comm, optional
        The processes that share the work, each with its own samples. All of them call the same
        methods. Default: this process has all samples.
    memory : int or str, optional
        Bytes of resident memory that the process may have, or a text such as ``"2GiB"``. Arrays of
        samples are then kept in files, with a few tiles in memory; results are the same. Default:
        everything is in memory.
    folder : str or Path, optional
        The folder of these files, on a disk. Default: the system's folder for temporary files.
    precision : {"float32", "tf32", "bf16"}, default="float32"
        Precision of float32 products: TF32 rounds factors to 11 bits and bfloat16 to 8. Products
        are always added up in float32. On a GPU full batches take it, too, and the objective may
        rise by that rounding. On the processor only ``"bf16"`` exists, for mini-batches, if it has
        the instructions AVX512-BF16: for dense layers with 64 or more inputs and outputs, and for
        convolutions with even numbers of channels.
    """

    device: str = "cpu"
    dtype: Any = "float32"
    n_threads: int | None = None
    tile_rows: int | None = None
    comm: Any = None
    memory: int | str | None = None
    folder: str | Path | None = None
    precision: str = "float32"

    @classmethod
    def of(cls, given: Execution | None, where: dict[str, Any]) -> Execution:
        """Return the record `given`, or a record of the fields `where`, given as keywords.

        `InputError` if both are given, `TypeError` for an unknown field.
        """
        names = [field.name for field in fields(cls)]
        unknown = [name for name in where if name not in names]
        if unknown:
            raise TypeError(f"unexpected keyword argument {unknown[0]!r}; known: {names}")
        if given is None:
            return cls(**where)
        if not isinstance(given, Execution):
            raise InputError(f"execution must be an Execution, got {given!r}")
        if where:
            raise InputError(
                f"execution: it has the field {next(iter(where))!r}, too; give one of the two"
            )
        return given

    def start(self) -> tuple[np.dtype, Device]:
        """Return the type of storage, and the device, ready for work."""
        dtype = check_dtype(self.dtype)
        ranks, storage = get_ranks(self.comm), get_storage(self.memory, self.folder)
        device = get_device(
            self.device, self.n_threads, self.tile_rows, ranks, storage, self.precision, dtype
        )
        return dtype, device
