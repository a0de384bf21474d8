"""Callback that saves checkpoints every few iterations and when a run is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastbcd.checkpoints.checkpoint import write
from fastbcd.checkpoints.fingerprint import fingerprint
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.kernels.streams import logger
from fastbcd.support.parameters import optional, require_integer
from fastbcd.training.loop import Callback, Record, Result, Solver


class SaveCheckpoint(Callback):
    """Writes the whole state to `path`, replacing the last checkpoint; see `fastbcd.resume`.

    A checkpoint holds weights, states, momentum and metrics, counters, random state, history and
    the state of the other callbacks; of the data it holds a hash only. Give this callback last, so
    that the others have done their work of an iteration.

    If a checkpoint cannot be written (disk full, folder read-only), the last one stays, the logger
    ``fastbcd`` warns, and the run goes on and tries again at the next one.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file in a folder that exists. It has the size of the state: for
        full-batch solvers that of V and U, several times the data. If the solver is spread over
        ranks, each of them writes its samples to a file in the folder ``PATH.parts``, which all
        ranks must see; another number of ranks may go on.
    every : int, optional
        Iterations between checkpoints; None: only when another callback stops the run.

    Attributes
    ----------
    failed : str or None
        The reason why the last checkpoint could not be written; None if it was.

    Raises
    ------
    InputError
        The folder does not exist.
    """

    def __init__(self, path: str | Path, every: int | None = None) -> None:
        self.path = user_path(path)
        self.every = optional(require_integer, every, "every", at_least=1)
        if not self.path.parent.is_dir():
            raise InputError(f"path: the folder {self.path.parent} does not exist")
        self.failed: str | None = None

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._solver, self._max_iter = solver, max_iter
        self._data = fingerprint(solver.device, state)
        self._saved: int | None = state.iteration

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        if self.every is not None and state.iteration % self.every == 0:
            self._try(state)

    def on_end(self, result: Result) -> None:
        # Only for a stopped run: after an exception the last checkpoint is the better one.
        if result.stopped_by is not None and result.state.iteration != self._saved:
            self._try(result.state)

    def _try(self, state: Any) -> None:
        """`save`, or a warning if that fails; all ranks do the same."""
        try:
            self.save(state)
            self.failed = None
        except OSError as error:
            self.failed = str(error)
            if self._solver.device.ranks.rank == 0:
                logger.warning("checkpoint of iteration %d: %s", state.iteration, error)

    def save(self, state: Any) -> None:
        """Write a checkpoint of `state` now; `OSError` if that fails."""
        write(self.path, self._solver, state, self._data, self._max_iter, self.result)
        self._saved = state.iteration
        logger.debug("checkpoint of iteration %d in %s", state.iteration, self.path)
