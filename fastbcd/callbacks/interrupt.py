"""Callback that turns Ctrl-C into the end of a run after the current iteration."""

from __future__ import annotations

import signal
import threading
from typing import Any

from fastbcd.fit import Callback, Record, Result, Solver
from fastbcd.kernels.streams import logger


class StopOnSignal(Callback):
    """Stops the run after the iteration in which a signal came; a second one acts at once.

    Without it Ctrl-C raises `KeyboardInterrupt` in the middle of an iteration. In threads other
    than the main one, where Python handles no signals, it does nothing; signals that the process
    ignores stay ignored.

    Parameters
    ----------
    signals : sequence of int, default=(SIGINT, SIGTERM)
        Ctrl-C, and what job schedulers send before they kill.

    Attributes
    ----------
    received : int or None
        The signal that came.
    """

    def __init__(self, signals: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)) -> None:
        self.signals = signals
        self.received: int | None = None

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self.received = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in self.signals:
                before = signal.getsignal(number)
                # What a shell has told its background jobs to ignore stays ignored.
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        self._restore()
        # From another thread: this one may be in the middle of writing to the same stream.
        message = "stopping after this iteration; once more stops at once"
        threading.Thread(target=logger.warning, args=(message,)).start()

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> bool:
        return self.received is not None

    def on_end(self, result: Result) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
