"""Callback that shows how a run gets on: a bar in a terminal or notebook, else lines of a log."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from tqdm.auto import tqdm

from fastbcd.kernels.streams import Lenient, is_terminal, logger, write_line
from fastbcd.training.loop import Callback, Record, Result, Solver

LABELS = {
    "objective": "objective",
    "batch_loss": "loss",
    "train_accuracy": "train",
    "test_accuracy": "test",
    "validation_score": "validation",
}
# Between two lines of a log, at least.
SECONDS = 10.0


class Progress(Callback):
    """Iterations, time left, objective, train and test accuracy as they come.

    In a terminal and in a notebook a tqdm bar; elsewhere (a file, a pipe) lines for the first and
    the last iteration, and one every ten seconds: of the logger ``fastbcd``, where that takes
    level INFO, else on standard error.
    """

    everywhere = False

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._max_iter, self._shown = max_iter, dict[str, str]()
        self._written, self._iteration = -float("inf"), state.iteration
        self._record: Record = {}
        self._bar: Any = None
        terminal = is_terminal(sys.stderr)
        if terminal or ("ipykernel" in sys.modules and sys.stderr is not None):
            self._bar = tqdm(
                total=max_iter,
                initial=state.iteration,
                unit="it",
                dynamic_ncols=True,
                # A notebook's bar is no text, and knows standard error by its identity.
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
        else:  # whoever asks for progress wants to see it, with logging set up or without
            write_line(line)
