"""Callback that ends a run after the current iteration when Ctrl-C or a signal comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import Any

from fastbcd.kernels.streams import logger
from fastbcd.training.loop import Callback, Record, Result, Solver

# Ctrl-C and kill: somebody who sends one of them twice wants the process to end now.
ASKED = (signal.SIGINT, signal.SIGTERM)
# A closed terminal, signals of schedulers before time is up, and a limit of processor time.
WARNED = tuple(
    getattr(signal, name)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)  # not on Windows
)


class StopOnSignal(Callback):
    """Stops the run after the iteration in which a signal came.

    After Ctrl-C or SIGTERM, a second one of these acts at once. The other signals may come any
    number of times (SIGXCPU comes every second): the iteration is finished first. Give this
    callback after `SaveCheckpoint`, so that the checkpoint is written before signals act again.

    Without it Ctrl-C raises `KeyboardInterrupt` in the middle of an iteration. In threads other
    than the main one this callback does nothing, because Python handles no signals there. Signals
    that the process ignores stay ignored.

    Parameters
    ----------
    signals : sequence of int, optional
        Default: SIGINT, SIGTERM, and those of SIGHUP, SIGUSR1, SIGUSR2 and SIGXCPU that have no
        other handler.

    Attributes
    ----------
    received : int or None
        The signal that came.
    """

    def __init__(self, signals: Sequence[int] | None = None) -> None:
        self.signals = signals
        self.received: int | None = None

    def on_start(self, solver: Solver, state: Any, max_iter: int) -> None:
        self.received = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (*ASKED, *WARNED) if self.signals is None else self.signals:
                before = signal.getsignal(number)
                # Signals that a shell lets its background jobs ignore stay ignored.
                taken = before in (signal.SIG_IGN, None)
                if self.signals is None and number in WARNED:
                    taken = before != signal.SIG_DFL
                if not taken:
                    self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        first, self.received = self.received is None, self.received or number
        if number not in WARNED:
            self._restore(but=WARNED)
        if not first:
            return
        # Log from another thread: this one may be in the middle of writing to the same stream.
        message = "stopping after this iteration"
        if number not in WARNED:
            message += "; once more stops at once"
        threading.Thread(target=logger.warning, args=(message,)).start()

    def on_iteration(self, solver: Solver, state: Any, record: Record) -> bool:
        return self.received is not None

    def on_end(self, result: Result) -> None:
        self._restore()

    def _restore(self, but: Sequence[int] = ()) -> None:
        """Set the previous handlers again, except for the signals `but`."""
        for number in [number for number in self._before if number not in but]:
            signal.signal(number, self._before.pop(number))
