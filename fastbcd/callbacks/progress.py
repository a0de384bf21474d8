"""Callback that shows the progress of a run: a bar in a terminal or notebook, else log lines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from fastbcd.kernels.streams import Lenient, is_terminal, logger, write_line
from fastbcd.training.loop import Callback, Record, Result, Solver

LABELS = {
    "objective": "objective",
    "batch_loss": "loss",
    "train_accuracy": "train",
    "test_accuracy": "test",
    "train_r2": "train R2",
    "test_r2": "test R2",
    "validation_loss": "validation loss",
    "validation_score": "validation",
}
# Least time between two log lines.
SECONDS = 10.0


class Progress(Callback):
    """Shows iterations, time left, objective, train and test accuracy or R^2.

    In a terminal or notebook this is a tqdm bar. Elsewhere (a file, a pipe) there is a line for the
    first and the last iteration and one every ten seconds. These lines go to the logger ``fastbcd``
    if it takes level INFO, else to standard error.
    """

    everywhere = False

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._max_iter, self._shown = max_iter, dict[str, str]()
        self._written, self._iteration = -float("inf"), state.iteration
        self._record: Record = {}
        self._bar: Any = None
        terminal = is_terminal(sys.stderr)
        if terminal or ("ipykernel" in sys.modules and sys.stderr is not None):
            # tqdm imports asyncio: that would take a tenth of the time in which this package loads.
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=max_iter,
                initial=state.iteration,
                unit="it",
                dynamic_ncols=True,
                # A notebook's bar is no text, and it recognises standard error by its identity.
                file=Lenient(sys.stderr) if terminal else None,
            )

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        for name, label in LABELS.items():
            if name in record:
                value = record[name]
                self._shown[label] = f"{value:.6g}" if name == "objective" else f"{value:.4f}"
        self._record = record
        if self._bar is not None:
            self._bar.set_postfix(self._shown, refresh=False)
            self._bar.update()
        elif time.perf_counter() - self._written >= SECONDS:
            self._log()

    def on_end(self, result: Result) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._record and self._record["iteration"] != self._iteration:
            self._log()

    def _log(self) -> None:
        self._written, self._iteration = time.perf_counter(), self._record["iteration"]
        shown = "".join(f", {label} {value}" for label, value in self._shown.items())
        seconds = self._record["seconds"]
        line = f"iteration {self._iteration} of {self._max_iter}, {seconds:.1f} s{shown}"
        if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
            logger.info(line)
        else:  # progress was asked for, so it is shown without logging, too
            write_line(line)
