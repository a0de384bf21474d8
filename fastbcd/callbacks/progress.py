"""Callback that shows a progress bar with the latest measurements and the time left."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm

from fastbcd.fit import Callback, Record, Result, Solver

LABELS = {"objective": "objective", "train_accuracy": "train", "test_accuracy": "test"}


class Progress(Callback):
    """A tqdm bar: iterations, time left, objective, train and test accuracy."""

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self._bar = tqdm(total=max_iter, initial=state.iteration, unit="it", dynamic_ncols=True)
        self._shown: dict[str, str] = {}

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> None:
        for name, label in LABELS.items():
            if name in record:
                value = record[name]
                self._shown[label] = f"{value:.6g}" if name == "objective" else f"{value:.4f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def on_end(self, result: Result) -> None:
        self._bar.close()
