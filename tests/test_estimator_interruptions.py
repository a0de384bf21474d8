"""Ctrl-C in an estimator's fit: the weights so far are kept, as scikit-learn's networks do."""

import os
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fastbcd import BCDClassifier, BCDRegressor
from fastbcd.callbacks import BatchLoss, Objective
from fastbcd.solvers.mini_batch.solver import MiniBatchThreeSplitting

X, Y = load_digits(return_X_y=True)
SOLVERS = {"mini-batch": BatchLoss, "three-splitting": Objective, "two-splitting": Objective}


@pytest.fixture(autouse=True)
def terminal():
    """As from a terminal, also where the tests run in the background, with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def press_until(stopped, seconds):
    """Press after so many seconds, and again until the fit has stopped, as a user would.

    Python ignores an exception in a callback of the garbage collector, so one Ctrl-C can be lost.
    """
    stopped.wait(seconds)
    while not stopped.is_set():
        press()
        stopped.wait(5.0)


def after_calls(monkeypatch, owner, name, calls):
    """Press Ctrl-C in the middle of that call of a method."""
    method, count = getattr(owner, name), [0]

    def counted(self, *arguments, **more):
        count[0] += 1
        if count[0] == calls:
            press()
        return method(self, *arguments, **more)

    monkeypatch.setattr(owner, name, counted)


def small(solver="mini-batch", **options):
    return BCDClassifier((16,), solver=solver, random_state=0, **options)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_weights_so_far_are_kept_with_a_warning(solver, monkeypatch):
    options = {"schedule": "constant"} if solver == "mini-batch" else {}
    whole = small(solver, max_iter=5, **options).fit(X, Y)
    stopped = small(solver, max_iter=50, **options)
    with monkeypatch.context() as patched:
        after_calls(patched, SOLVERS[solver], "on_iteration", 5)
        with pytest.warns(UserWarning, match="fit was interrupted: .* after 4 whole passes"):
            assert stopped.fit(X, Y) is stopped
    assert stopped.loss_curve_ == whole.loss_curve_[:4]
    assert stopped.n_iter_ == 4
    # The fifth pass was over, and its loss was about to be measured.
    for one, other in zip(stopped.network_.W, whole.network_.W, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(stopped)).predict(X), stopped.predict(X)
    )
    stopped.set_params(warm_start=True, max_iter=1).fit(X, Y)
    assert stopped.n_iter_ == 5


def test_in_the_middle_of_the_first_pass_there_is_a_network_without_a_loss(monkeypatch):
    stopped = small(max_iter=50)
    after_calls(monkeypatch, MiniBatchThreeSplitting, "_learn", 30)
    with pytest.warns(UserWarning, match="after 0 whole passes"):
        stopped.fit(X, Y)
    assert (stopped.loss_curve_, stopped.loss_, stopped.n_iter_) == ([], np.inf, 0)
    assert stopped.score(X, Y) > 0.5
    stopped.partial_fit(X, Y)
    assert stopped.n_iter_ == 1
    assert stopped.best_loss_ == stopped.loss_ == stopped.loss_curve_[0]


@pytest.mark.parametrize("solver", SOLVERS)
def test_where_nothing_was_learned_the_estimator_is_as_it_was(solver, monkeypatch):
    owner, name = (
        (MiniBatchThreeSplitting, "_learn") if solver == "mini-batch" else (Objective, "on_start")
    )
    untouched = small(solver)
    with monkeypatch.context() as patched:
        after_calls(patched, owner, name, 1)
        with pytest.raises(KeyboardInterrupt):
            untouched.fit(X, Y)
    assert not hasattr(untouched, "classes_")
    before = untouched.set_params(max_iter=2).fit(X, Y).network_
    with monkeypatch.context() as patched:
        after_calls(patched, owner, name, 1)
        with pytest.raises(KeyboardInterrupt):
            untouched.fit(X, Y)
    assert untouched.network_ is before


def test_early_stopping_keeps_the_best_weights_of_those_that_were_scored(monkeypatch):
    from fastbcd.callbacks.held_out import HeldOut

    stopped = small(max_iter=50, early_stopping=True)
    after_calls(monkeypatch, HeldOut, "on_iteration", 4)
    with pytest.warns(UserWarning, match="interrupted"):
        stopped.fit(X, Y)
    assert len(stopped.validation_scores_) == 3
    best = np.argmin(stopped.validation_loss_curve_)
    assert stopped.best_validation_score_ == stopped.validation_scores_[best]
    assert stopped.score(X, Y) > 0.5


def test_a_warning_that_is_an_error_leaves_a_fitted_regressor_and_a_thread_none(monkeypatch):
    regressor = BCDRegressor((8,), max_iter=9, random_state=0)
    after_calls(monkeypatch, BatchLoss, "on_iteration", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="interrupted"):
            regressor.fit(X, Y)
    assert regressor.n_iter_ == 2
    assert regressor.predict(X).shape == (len(X),)
    assert not [thread for thread in threading.enumerate() if "fastbcd" in thread.name]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("solver", SOLVERS)
def test_at_any_moment_on_two_threads(solver, monkeypatch):
    owner = SOLVERS[solver]
    measure = owner.on_iteration
    for seconds in (0.001, 0.0137, 0.05):
        over = threading.Event()
        presses = threading.Thread(target=press_until, args=(over, seconds))

        def begin(self, solver, state, record, presses=presses):
            if record["iteration"] == 2:  # one is whole by then, however slow the machine is
                presses.start()
            return measure(self, solver, state, record)

        monkeypatch.setattr(owner, "on_iteration", begin)
        stopped = small(solver, max_iter=10**6, n_threads=2)
        with pytest.warns(UserWarning, match="fit was interrupted"):
            stopped.fit(X, Y)
        over.set()
        presses.join()
        assert stopped.n_iter_ == len(stopped.loss_curve_) > 0
        assert stopped.predict(X).shape == Y.shape
        assert all(np.isfinite(W).all() for W in stopped.network_.W)
