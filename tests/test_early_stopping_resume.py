"""Early stopping after a checkpoint: a finished run, another monitor, NaN."""

import math

import numpy as np
import pytest

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, one_hot, resume
from fastbcd.callbacks import Callback, EarlyStopping, SaveCheckpoint


class Scripted(Callback):
    """Measures what it is told."""

    def __init__(self, values):
        self.values = values

    def on_iteration(self, solver, state, record):
        record["score"] = self.values[record["iteration"] - 1]


def data(n=60):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 5)), one_hot(rng.integers(3, size=n), 3)


def solver():
    return MiniBatchThreeSplitting(Problem((5, 6, 3)), 20, schedule="constant")


VALUES = [0.5, 0.1, 0.1, 0.1, 0.9, 0.1]


def stopped(path):
    stopping = EarlyStopping("score", n_iter_no_change=2)
    callbacks = [Scripted(VALUES), stopping, SaveCheckpoint(path)]
    return solver().fit(*data(), max_iter=6, callbacks=callbacks), stopping


def test_a_run_that_it_had_stopped_stays_over(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    first, _ = stopped(path)
    for _ in range(2):
        stopping = EarlyStopping("score", n_iter_no_change=2)
        result = resume(path, solver(), *data(), [Scripted(VALUES), stopping, SaveCheckpoint(path)])
        assert result.stopped_by is stopping
        assert len(result.history) == len(first.history) == 3
        assert stopping.best == 0.5
        np.testing.assert_array_equal(result.network.W[0], first.network.W[0])


def test_one_that_waits_longer_goes_on(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    stopped(path)
    stopping = EarlyStopping("score", n_iter_no_change=4)
    result = resume(path, solver(), *data(), [Scripted(VALUES), stopping])
    assert len(result.history) == 6
    assert (stopping.best, stopping.best_iteration) == (0.9, 5)


def test_what_another_monitor_or_mode_remembers_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    stopped(path)
    for other, message in [
        (EarlyStopping("loss"), "monitor: .* had 'score', this one has 'loss'"),
        (EarlyStopping("score", mode="min"), "mode: .* had 'max', this one has 'min'"),
    ]:
        with pytest.raises(InputError, match=message):
            resume(path, solver(), *data(), [Scripted(VALUES), other])


@pytest.mark.parametrize(("mode", "best"), [("max", 0.5), ("min", 0.3)])
def test_nan_is_worse_than_any_number(mode, best, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    values = [math.nan, 0.4, math.nan, 0.5, 0.3, math.nan]
    stopping = EarlyStopping("score", mode=mode, n_iter_no_change=6)
    solver().fit(*data(), max_iter=6, callbacks=[Scripted(values), stopping])
    assert stopping.best == best
    # Of nothing but NaN the first remains, and it is no gain.
    nothing = EarlyStopping("score", mode=mode, n_iter_no_change=3)
    callbacks = [Scripted([math.nan] * 6), nothing, SaveCheckpoint(path)]
    result = solver().fit(*data(), max_iter=6, callbacks=callbacks)
    assert (len(result.history), nothing.best_iteration) == (3, 1)
    longer = EarlyStopping("score", mode=mode, n_iter_no_change=6)
    resume(path, solver(), *data(), [Scripted(values), longer])
    assert longer.best == best
