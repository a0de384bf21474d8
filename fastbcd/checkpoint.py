"""Checkpoints: everything that a run needs to go on as if it had not stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbcd.errors import InputError
from fastbcd.fit import Callback, Past, Result, run
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES, Formula
from fastbcd.sealed import read_sealed, write_sealed

FORMAT = 1
# Of a state or a solver: derived from the rest, or of the machine, or (data) hashed.
LEFT_OUT = {"X", "Y", "cache", "ledger", "clock", "settings", "device", "problem"}
# Samples that are hashed at a time.
HASHED_ROWS = 4096
# The key under which stands which tensor a value is.
TENSOR = "array in tensor"
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """A run in the middle: what `write` wrote and `read` read.

    Parameters
    ----------
    path : Path
    tensors : dict of str to array
        All arrays of the state.
    metadata : dict
        All the rest, as JSON can hold it.
    """

    path: Path
    tensors: Tensors
    metadata: dict[str, Any]

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return int(self.metadata["state"]["iteration"])

    @property
    def max_iter(self) -> int:
        """Iterations of the whole run."""
        return int(self.metadata["max_iter"])

    def past(self) -> Past:
        """History and what callbacks remember."""
        return Past(
            history=self.metadata["history"],
            callbacks=[
                (name, _unpack(None, packed, self.tensors))
                for name, packed in self.metadata["callbacks"]
            ],
        )

    def restore(self, solver: Any, X: ArrayLike, Y: ArrayLike) -> Any:
        """The state of `solver` when this was written, for the same X (n, d_0) and Y (n, d_L).

        Raises
        ------
        InputError
            Another solver, another network or other data; says what differs.
        """
        state = solver.blank(X, Y)
        for name, now in describe(solver, state).items():
            before = self.metadata["solver"].get(name)
            if before != now:
                name = name.removeprefix("problem.")
                raise InputError(
                    f"{self.path} is of another run: {name} was {before} there, and is {now} here"
                )
        if self.metadata["data"] != fingerprint(state):
            raise InputError(f"{self.path} is of another run: X or Y are not the same data")
        return _unpack(state, self.metadata["state"], self.tensors)


def write(path: Path, solver: Any, state: Any, data: str, max_iter: int, result: Result) -> None:
    """Write a checkpoint beside the last one, then in its place.

    Parameters
    ----------
    path : Path
    solver, state
        Of the run.
    data : str
        `fingerprint` of the state.
    max_iter : int
        Iterations of the whole run.
    result : Result
        History and callbacks so far.

    Raises
    ------
    OSError
        It cannot be written; the last one is untouched.
    """
    tensors: Tensors = {}
    metadata = {
        "format": FORMAT,
        "solver": describe(solver, state),
        "data": data,
        "max_iter": max_iter,
        "state": _pack(state, "", tensors),
        "history": _pack(result.history, "history", tensors),
        "callbacks": [
            [type(callback).__name__, _pack(callback.state_dict(), f"callbacks.{i}", tensors)]
            for i, callback in enumerate(result.callbacks)
        ],
    }
    try:
        write_sealed(path, tensors, metadata)
    except OSError as error:
        raise OSError(f"{error}; the last checkpoint, if there was one, is untouched") from error


def read(path: Path) -> Checkpoint:
    """The checkpoint at `path`; `InputError` where there is none, or it is damaged."""
    tensors, metadata = read_sealed(path, "checkpoint")
    if "solver" not in metadata:
        raise InputError(f"{path} is not a checkpoint")
    if metadata["format"] != FORMAT:
        raise InputError(
            f"{path} has format {metadata['format']}, and this version reads {FORMAT}; "
            "continue with the version that wrote it"
        )
    return Checkpoint(path, tensors, metadata)


def resume(
    path: str | Path, solver: Any, X: ArrayLike, Y: ArrayLike, callbacks: Iterable[Callback] = ()
) -> Result:
    """Go on from a checkpoint: the result is that of the run that was not interrupted, bit for bit.

    Parameters
    ----------
    path : str or Path
        What `fastbcd.callbacks.SaveCheckpoint` wrote.
    solver
        With the same hyperparameters; the number of threads may differ.
    X, Y : array
        The same data.
    callbacks : iterable of Callback
        As for `fit`. Those that were there when the checkpoint was written remember.

    Returns
    -------
    Result
        Its history starts at the first iteration of the whole run.

    Raises
    ------
    InputError
        The file is damaged, or of other data, another network or another solver.
    """
    checkpoint = read(Path(path))
    state = checkpoint.restore(solver, X, Y)
    return run(solver, state, checkpoint.max_iter, callbacks, checkpoint.past())


def describe(solver: Any, state: Any) -> dict[str, Any]:
    """Every hyperparameter of a run by name, as JSON can hold it; nothing of the machine."""
    problem = {f"problem.{name}": value for name, value in vars(solver.problem).items()}
    described = {
        name: _in_words(value)
        for name, value in (vars(solver) | problem).items()
        if name not in LEFT_OUT
    }
    # What a rule chose is as good as given.
    described |= asdict(state.settings) if hasattr(state, "settings") else {}
    tile_rows = solver.device.tile_rows(solver.problem.widths, solver.dtype)
    return {"solver": type(solver).__name__, **described, "tile_rows": tile_rows}


def _in_words(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_in_words(part) for part in value]
    if isinstance(value, Formula):
        # The digest of its code, where it is not one of ours.
        known = {**ACTIVATIONS, **LOSSES, **PENALTIES}.get(value.name)
        ours = known is not None and known(*value.arguments) == value
        return repr(value) if ours else f"{value!r} {value.numba_type.name}"
    if callable(value):
        return value.__name__
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def fingerprint(state: Any) -> str:
    """SHA-256 of the samples and targets of a state: types, shapes and bytes."""
    digest = hashlib.sha256()
    for data in (state.X, state.Y):
        digest.update(f"{data.dtype.str} {data.shape}".encode())
        for start in range(0, len(data), HASHED_ROWS):
            digest.update(np.ascontiguousarray(data[start : start + HASHED_ROWS]).data)
    return digest.hexdigest()


def _pack(value: Any, name: str, tensors: Tensors) -> Any:
    """`value` as JSON can hold it; its arrays go to `tensors`, under names that begin with `name`.

    Handles lists, dictionaries, objects of plain attributes, arrays, random generators, numbers.
    """
    if isinstance(value, np.ndarray):
        while name in tensors:
            name += "'"
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_pack(part, f"{name}.{i}", tensors) for i, part in enumerate(value)]
    parts = value if isinstance(value, dict) else _attributes(value)
    if not all(isinstance(key, str) and key != TENSOR for key in parts):
        raise TypeError(f"{name}: keys must be texts other than {TENSOR!r}, got {list(parts)}")
    prefix = f"{name}." if name else ""
    return {key: _pack(part, f"{prefix}{key}", tensors) for key, part in parts.items()}


def _attributes(value: Any) -> dict[str, Any]:
    """What continues a run of a state, or of an object within it; not the data themselves."""
    parts = {key: part for key, part in vars(value).items() if key not in LEFT_OUT}
    if "V" in parts:
        parts["V"] = [None, *parts["V"][1:]]  # V_0 is X
    return parts


def _unpack(old: Any, packed: Any, tensors: Tensors) -> Any:
    """What `_pack` packed: in place where `old` has such an array or object, else new."""
    if isinstance(packed, list):
        olds = old if isinstance(old, list) else [None] * len(packed)
        return [_unpack(o, part, tensors) for o, part in zip(olds, packed, strict=True)]
    if not isinstance(packed, dict):
        # V_0 is X: the data are not in the checkpoint.
        return old if packed is None and isinstance(old, np.ndarray) else packed
    if TENSOR in packed:
        return _unpack_array(old, packed[TENSOR], tensors)
    if isinstance(old, np.random.Generator):
        old.bit_generator.state = packed
        return old
    if old is None:
        return {key: _unpack(None, part, tensors) for key, part in packed.items()}
    for key, part in packed.items():
        setattr(old, key, _unpack(getattr(old, key), part, tensors))
    return old


def _unpack_array(old: Any, name: str, tensors: Tensors) -> Any:
    tensor = tensors[name]
    if not isinstance(old, np.ndarray):
        return tensor
    if (old.shape, old.dtype) != (tensor.shape, tensor.dtype):
        raise InputError(f"the checkpoint's {name} has shape {tensor.shape}, not {old.shape}")
    old[...] = tensor
    return old
