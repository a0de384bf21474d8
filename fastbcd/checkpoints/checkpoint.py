"""Checkpoints in files: they are written, read, and compared with the run that goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbcd.checkpoints import format_2
from fastbcd.checkpoints.fingerprint import fingerprint
from fastbcd.checkpoints.serialisation import Tensors, deserialise, serialise
from fastbcd.checkpoints.shards import (
    Samples,
    Shard,
    check_shards,
    remove_unused,
    unused_number,
    write_shard,
)
from fastbcd.devices.ranks import SINGLE_PROCESS, Ranks, collective_errors, on_root
from fastbcd.devices.rows import put, taken
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.files.checksummed import ChecksummedFile, write_checksummed
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES, Formula
from fastbcd.layers import Dense
from fastbcd.support.floating_point import own_errstate
from fastbcd.support.stored import check_state_dict
from fastbcd.training.loop import Callback, Result, RunHistory, run

# Since format 2, samples of several ranks are in shards. In format 3 each class defines its keys.
FORMAT, READ = 3, (2, 3)
KEYS = (
    "format", "solver", "data", "max_iter", "state", "samples", "parts", "history", "callbacks",
    "checksum",
)  # fmt: skip
# Keys of a state whose arrays have a row for each sample.
OF_SAMPLES = ("V", "U", "V_difference", "U_difference")
# Names of hyperparameters in files: those of solvers, those that mini-batches may choose by a rule,
# and those of problems.
OF_SOLVERS = (
    "alpha", "alpha_weights", "loss_update", "inner_steps", "acceleration", "batch_size",
    "step_unit", "step_size", "momentum", "damping", "schedule", "rank", "output_rank",
    "displacement", "rho", "weight_decay", "average", "augment", "dropout", "input_noise",
    "nesterov", "dtype",
)  # fmt: skip
CHOSEN = ("batch_size", "step_size", "momentum", "damping", "rank")
OF_PROBLEMS = (
    "widths", "activations", "loss", "gamma", "rho", "weight_penalties", "state_penalties",
    "residual", "reduction",
)  # fmt: skip
# Hyperparameters that older files do not name, and what they were there.
ADDED = {
    "step_unit": "fit",
    "output_rank": 0,
    "dropout": 0.0,
    "input_noise": 0.0,
    "nesterov": False,
}


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint that `write` wrote and `read` read.

    Parameters
    ----------
    path : Path
    tensors : dict of str to array
        All arrays except those with a row for each sample, which may be larger than memory.
    metadata : dict
        All other content, as JSON can hold it.
    """

    path: Path
    tensors: Tensors
    metadata: dict[str, Any]

    @property
    def iteration(self) -> int:
        """The number of iterations done."""
        return int(self.metadata["state"]["iteration"])

    @property
    def max_iter(self) -> int:
        """The number of iterations of the whole run."""
        return int(self.metadata["max_iter"])

    def past(self) -> RunHistory:
        """Return the history, and the state of each callback under the name of its class."""
        return RunHistory(
            history=self.metadata["history"],
            callbacks=[
                (name, deserialise(stored, lambda name, live: self.tensors[name]))
                for name, stored in self.metadata["callbacks"]
            ],
        )

    def restore(
        self, solver: Any, X: ArrayLike, Y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Return the stored state of `solver`, for the same X (n, d_0) and Y (n, d_L).

        `sample_weight` (n,) are the same weights of samples, if the run had any. On several ranks
        all of them call this, each with its own samples, and each reads only its own rows. Their
        number may differ from that of the ranks that wrote the checkpoint.

        Raises
        ------
        InputError
            The solver, the network or the data differ; the message says in what. A shard is
            damaged.
        """
        device = solver.device
        state = solver.blank(X, Y, sample_weight)
        with collective_errors(device.ranks):
            self._compare(describe(solver, state))
        if self.metadata["data"] != fingerprint(device, state):
            raise InputError(
                f"{self.path} is of another run: X or Y are not the same data, or sample_weight "
                "is not what it was"
            )
        counts = device.ranks.gather(state.n)
        start = sum(counts[: device.ranks.rank])
        shards = [Shard.from_state_dict(stored) for stored in self.metadata["parts"]] or [
            Shard("", 0, sum(counts), self.metadata["checksum"])
        ]
        with (
            Samples(self.path, shards, start, start + state.n, device.ranks) as samples,
            collective_errors(device.ranks, apart=True),
        ):
            own: Any = state.sample_weight
            own = None if own is None else own.copy()
            self._load(state, self._fetch(device, samples))
            if sample_weight is not None and not np.array_equal(own, state.sample_weight):
                raise InputError(f"{self.path} is of another run: sample_weight was another there")
            return state

    def _load(self, state: Any, fetch: Any) -> None:
        """Load the stored content into the arrays of `state`; errors name the file.

        Keys are checked before any array is read.
        """
        live, stored = state.state_dict(), self.metadata["state"]
        try:
            check_state_dict(stored, live, type(state).__name__)
            state.load_state_dict(deserialise(stored, fetch, live))
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def _compare(self, described: dict[str, Any]) -> None:
        stored = self.metadata["solver"]
        for name in described | stored:
            before, now = stored.get(name, ADDED.get(name)), described.get(name)
            if before != now:
                name = name.removeprefix("problem.")
                raise InputError(
                    f"{self.path} is of another run: {name} was {before} there, and is {now} here"
                )

    def _fetch(self, device: Any, samples: Samples) -> Any:
        """Return the function by which `deserialise` gets arrays by name, in place if it can."""

        def fetch(name: str, live: Any) -> Any:
            if name in self.metadata["samples"]:
                for rows, block in samples.blocks(name):
                    put(device, live, rows, block)
                return live
            tensor = self.tensors[name]
            if live is None:
                return tensor
            if (live.shape, live.dtype) != (tensor.shape, tensor.dtype):
                raise InputError(f"{name} has shape {tensor.shape}, not {live.shape}")
            live[...] = device.array(tensor, live.dtype)
            return live

        return fetch


def write(path: Path, solver: Any, state: Any, data: str, max_iter: int, result: Result) -> None:
    """Write a checkpoint beside the last one, then put it in the place of that one.

    All ranks call it. If there are several, each writes its samples to a shard. Then the first rank
    writes the index, which makes the checkpoint valid. Until then the last checkpoint is valid.

    Parameters
    ----------
    path : Path
        Path of the index, or of the only file.
    solver, state
        Solver and state of the run.
    data : str
        `fingerprint` of the data.
    max_iter : int
        Number of iterations of the whole run.
    result : Result
        History and callbacks so far; those of the first rank are stored.

    Raises
    ------
    OSError
        The checkpoint cannot be written; the last one is untouched.
    """
    device, ranks = solver.device, solver.device.ranks
    take, shard = partial(taken, device), None
    tensors: Tensors = {}
    stored = serialise(state.state_dict(), "", tensors)
    names = [name for name in tensors if name.partition(".")[0] in OF_SAMPLES]
    samples = {name: tensors.pop(name) for name in names} if ranks.size > 1 else {}
    counts = ranks.gather(state.n)
    start = sum(counts[: ranks.rank])
    try:
        number = on_root(ranks, lambda: unused_number(path))
        with collective_errors(ranks, apart=True), _last_one_kept():
            if samples and state.n:
                rows = start, start + state.n
                shard = write_shard(path, number, ranks.rank, rows, samples, take)
        shards = [shard for shard in ranks.gather(shard) if shard is not None]

        def write_index() -> None:
            metadata = {
                "format": FORMAT,
                "solver": describe(solver, state),
                "data": data,
                "max_iter": max_iter,
                "state": stored,
                "samples": names,
                "parts": [shard.state_dict() for shard in shards],
                "history": serialise(result.history, "history", tensors),
                "callbacks": _remembered(result, tensors),
            }
            with _last_one_kept():
                check_shards(path, shards)
                write_checksummed(path, tensors, metadata, take)

        on_root(ranks, write_index)
    finally:
        if ranks.rank == 0:
            remove_unused(path)  # shards of the last one, or of this one if a rank failed


def _remembered(result: Result, tensors: Tensors) -> list[Any]:
    """Return class name and state of each callback for JSON; their arrays go to `tensors`."""
    return [
        [type(callback).__name__, serialise(callback.state_dict(), f"callbacks.{i}", tensors)]
        for i, callback in enumerate(result.callbacks)
    ]


@contextmanager
def _last_one_kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(f"{error}; the last checkpoint, if there was one, is untouched") from error


def read(path: Path, ranks: Ranks = SINGLE_PROCESS) -> Checkpoint:
    """Read the checkpoint at `path` without its samples, which `Checkpoint.restore` reads.

    Parameters
    ----------
    path : Path
        Path of the index, or of the only file.
    ranks : Ranks
        The ranks that call this together; the first one verifies the file.

    Raises
    ------
    InputError
        The file is missing, damaged, or of an unknown format.
    """
    with (
        collective_errors(ranks, apart=True),
        ChecksummedFile(path, "checkpoint", verify=ranks.rank == 0) as file,
    ):
        metadata = file.metadata
        if "solver" not in metadata:
            raise InputError(f"{path} is not a checkpoint")
        if metadata["format"] not in READ:
            raise InputError(
                f"{path} has format {metadata['format']}, and this version reads "
                f"{READ[0]} to {READ[-1]}; go on with the version that wrote it"
            )
        if metadata["format"] == 2:
            metadata = format_2.upgraded(metadata)
        check_state_dict(metadata, dict.fromkeys(KEYS), str(path))
        names = file.tensors.keys() - set(metadata["samples"])
        return Checkpoint(path, {name: file.read(name) for name in names}, metadata)


@own_errstate
def resume(
    path: str | Path,
    solver: Any,
    X: ArrayLike,
    Y: ArrayLike,
    callbacks: Iterable[Callback] = (),
    sample_weight: ArrayLike | None = None,
) -> Result:
    """Go on from a checkpoint; the result is that of an uninterrupted run, bit for bit.

    Parameters
    ----------
    path : str or Path
        A file that `fastbcd.callbacks.SaveCheckpoint` wrote.
    solver
        A solver with the same hyperparameters; the number of threads may differ.
    X, Y : array
        The same data.
    callbacks : iterable of Callback
        As for `fit`. Callbacks that the checkpoint has go on from their stored state.
    sample_weight : array, optional
        The same weights. Full batches need them; a checkpoint of mini-batches holds them itself.

    Returns
    -------
    Result
        The result of the whole run; its history starts at the first iteration.

    Raises
    ------
    InputError
        The file is damaged, or its data, network or solver differ.
    """
    checkpoint = read(user_path(path), solver.device.ranks)
    state = checkpoint.restore(solver, X, Y, sample_weight)
    return run(solver, state, checkpoint.max_iter, callbacks, checkpoint.past())


def describe(solver: Any, state: Any) -> dict[str, Any]:
    """Return all hyperparameters of a run by name, as JSON can hold them, without the machine's.

    If `state` has settings, numbers that a rule chose are included like given ones.
    """
    problem, settings = solver.problem, getattr(state, "settings", None)
    of_solver = {name: getattr(solver, name) for name in OF_SOLVERS if hasattr(solver, name)}
    of_run = {} if settings is None else {name: getattr(settings, name) for name in CHOSEN}
    of_problem = {f"problem.{name}": getattr(problem, name) for name in OF_PROBLEMS}
    if any(not isinstance(layer, Dense) for layer in problem.layers):
        of_problem["problem.layers"] = problem.layers
    words = {name: _in_words(value) for name, value in (of_solver | of_run | of_problem).items()}
    tile_rows = solver.device.tile_rows(problem.widths, solver.dtype)
    return {"solver": type(solver).__name__, **words, "tile_rows": tile_rows}


def _in_words(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_in_words(part) for part in value]
    if isinstance(value, Formula):
        # The digest of its code identifies a formula that is not one of the package.
        known = {**ACTIVATIONS, **LOSSES, **PENALTIES}.get(value.name)
        ours = known is not None and known(*value.arguments) == value
        return repr(value) if ours else f"{value!r} {value.numba_type.name}"
    if callable(value):
        return value.__name__
    return value if isinstance(value, bool | int | float | str | None) else repr(value)
