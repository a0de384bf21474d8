"""Signals of schedulers, terminals and limits end a run in the same way as SIGTERM."""

import os
import signal
import subprocess
import threading

import numpy as np
import pytest
from command import fastbcd, history, start
from share import share
from test_interruptions import wait_for_rows

from fastbcd import Problem, ThreeSplitting, resume
from fastbcd.callbacks import Callback, SaveCheckpoint, StopOnSignal

NAMES = [name for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name)]
NUMBERS = [getattr(signal, name) for name in NAMES]
RNG = np.random.default_rng(0)
DATA = RNG.random((30, 3)), RNG.random((30, 2))


class Send(Callback):
    """Sends signals in iteration 2."""

    def __init__(self, *numbers):
        self.numbers = numbers

    def on_iteration(self, solver, state, record):
        if record["iteration"] == 2:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def solver():
    return ThreeSplitting(Problem((3, 4, 2)), n_threads=1)


@pytest.fixture(autouse=True)
def defaults():
    """Nobody handles or ignores a signal, whatever the tests run under."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", NAMES)
def test_each_stops_after_its_iteration_with_a_checkpoint_however_often_it_comes(name, tmp_path):
    number, path = getattr(signal, name), tmp_path / "c.safetensors"
    writing = SaveCheckpoint(path)
    save = writing.save

    def slow(state):
        os.kill(os.getpid(), number)  # while the checkpoint is written, too
        save(state)

    writing.save = slow
    stop = StopOnSignal()
    result = solver().fit(*DATA, max_iter=9, callbacks=[Send(*[number] * 3), writing, stop])
    assert (len(result.history), result.stopped_by, stop.received) == (2, stop, number)
    assert signal.getsignal(number) == signal.SIG_DFL
    whole = solver().fit(*DATA, max_iter=9)
    again = resume(path, solver(), *DATA)
    for one, other in zip(whole.state.W[1:], again.state.W[1:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_second_ctrl_c_still_acts_at_once_and_another_signal_before_it_is_none():
    twice = Send(signal.SIGINT, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        solver().fit(*DATA, max_iter=9, callbacks=[twice, StopOnSignal()])
    stop = StopOnSignal()
    both = Send(NUMBERS[0], signal.SIGINT, NUMBERS[0])  # as systemd and terminals send them
    result = solver().fit(*DATA, max_iter=9, callbacks=[both, stop])
    assert (len(result.history), stop.received) == (2, NUMBERS[0])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_others_stay_theirs_and_come_back():
    called = []
    number = NUMBERS[1]
    signal.signal(number, lambda *_: called.append(1))
    own = signal.getsignal(number)
    result = solver().fit(*DATA, max_iter=4, callbacks=[Send(number), StopOnSignal()])
    assert (len(result.history), called) == (4, [1])
    assert signal.getsignal(number) is own
    # Unless it is asked for by name.
    result = solver().fit(*DATA, max_iter=4, callbacks=[Send(number), StopOnSignal([number])])
    assert (len(result.history), called) == (2, [1])
    assert signal.getsignal(number) is own
    signal.signal(number, signal.SIG_IGN)  # nohup does so with SIGHUP
    result = solver().fit(*DATA, max_iter=4, callbacks=[Send(number), StopOnSignal()])
    assert len(result.history) == 4


def test_in_another_thread_no_handler_is_set():
    seen = []

    class Look(Callback):
        def on_iteration(self, solver, state, record):
            seen.append([signal.getsignal(number) for number in NUMBERS])

    thread = threading.Thread(
        target=lambda: solver().fit(*DATA, max_iter=2, callbacks=[StopOnSignal(), Look()])
    )
    thread.start()
    thread.join()
    assert seen == [[signal.SIG_DFL] * len(NUMBERS)] * 2


@pytest.mark.slow
@pytest.mark.parametrize("name", share([NAMES[0], NAMES[-1]], at_most=2))
def test_the_command_ends_as_after_sigterm_and_goes_on(name, tmp_path):
    number = getattr(signal, name)
    options = ["train", "--batch-size", "full", "--hidden", "40", "--epochs", "600"]
    options += ["--evaluate-every", "200"]
    process = start(*options, "--out", "run", cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_rows(tmp_path / "run" / "history.csv", 3, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    done = len(history(tmp_path / "run"))
    assert f"stopped after iteration {done} of 600; go on with: fastbcd train" in err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    fastbcd("train", "--resume", "run", "--quiet", cwd=tmp_path)
    assert len(history(tmp_path / "run")) == 600
