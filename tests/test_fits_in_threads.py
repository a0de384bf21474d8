"""Fits, predictions and limits of BLAS in several threads: same bits, no setting changed."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from joblib import Parallel, delayed
from threadpoolctl import threadpool_info, threadpool_limits

from fastbcd import BCDClassifier, Problem, ThreeSplitting, one_hot
from fastbcd.callbacks import Callback
from fastbcd.devices import threads
from fastbcd.devices.threads import BLAS_LIMIT, resolve_threads
from fastbcd.kernels.library import LIBRARY

# Wide enough that BLAS would take two threads for the products, and add in another order.
RNG = np.random.default_rng(0)
X = RNG.normal(size=(1200, 300))
Y = (X[:, :3].sum(axis=1) > 0).astype(int)


def fit(seed=0, n_threads=1):
    model = BCDClassifier((64,), max_iter=1, random_state=seed, n_threads=n_threads)
    return model.fit(X, Y).predict_proba(X)


def full_batch(callbacks=(), seed=0, max_iter=3):
    solver = ThreeSplitting(Problem((300, 64, 2)), n_threads=1)
    return solver.fit(X, one_hot(Y, 2), max_iter=max_iter, seed=seed, callbacks=callbacks)


def blas_threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def two_threads_of_blas():
    """Those of a machine with several processors, and still there after the test."""
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert set(before) == {2}
        yield
        assert blas_threads() == before


@pytest.fixture(scope="module")
def alone():
    return [fit(seed) for seed in range(3)]


@pytest.mark.skipif(sys.platform != "linux", reason="an instance of our own is for Linux only")
def test_kernels_call_a_blas_of_their_own_here():
    assert LIBRARY.own, LIBRARY.description


def test_overlapping_fits_give_the_bits_of_each_alone(alone):
    with ThreadPoolExecutor(3) as pool:
        for result, expected in zip(pool.map(fit, range(3)), alone, strict=True):
            np.testing.assert_array_equal(result, expected)


def test_other_limits_that_come_and_go_meanwhile_change_no_bit(alone):
    ended = threading.Event()

    def meddle():
        while not ended.is_set():
            for count in (1, 2):
                with threadpool_limits(count, user_api="blas"):
                    pass
        return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        meddling = pool.submit(meddle)
        results = [fit(seed) for seed in range(3)]
        ended.set()
        meddling.result()
    np.testing.assert_array_equal(results, alone)


def test_fits_beside_predictions(alone):
    model = BCDClassifier((64,), max_iter=1, random_state=0, n_threads=1).fit(X, Y)
    with ThreadPoolExecutor(2) as pool:
        fits = pool.map(fit, range(3))
        predictions = list(pool.map(lambda _: model.predict_proba(X), range(6)))
        np.testing.assert_array_equal(list(fits), alone)
    for prediction in predictions:
        np.testing.assert_array_equal(prediction, alone[0])


def test_fits_of_asyncio(alone):
    async def both():
        return await asyncio.gather(*(asyncio.to_thread(fit, seed) for seed in range(3)))

    np.testing.assert_array_equal(asyncio.run(both()), alone)


def test_fits_in_threads_of_joblib(alone):
    results = Parallel(n_jobs=2, backend="threading")(delayed(fit)(seed) for seed in range(3))
    np.testing.assert_array_equal(results, alone)


class Fails(Callback):
    def __init__(self, action, others):
        self.action, self.others = action, others

    def on_iteration(self, solver, state, record):
        self.others.wait(20)
        self.action()


def failure():
    raise ArithmeticError("on purpose")


@pytest.fixture
def interruptible():
    """A shell lets what it starts in the background ignore Ctrl-C; here it counts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(
    ("action", "error"),
    [(failure, ArithmeticError), (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt)],
    ids=["exception", "Ctrl-C"],
)
def test_what_ends_one_of_two_fits_leaves_the_other_as_it_is(action, error):
    expected = full_batch(seed=1, max_iter=6).state.W[1:]
    started = threading.Event()

    class Started(Callback):
        def on_iteration(self, solver, state, record):
            started.set()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(full_batch, [Started()], 1, 6)
        with pytest.raises(error):
            full_batch([Fails(action, started)])
        for got, wanted in zip(other.result().state.W[1:], expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert full_batch(seed=1, max_iter=6).state.W[1].tobytes() == expected[0].tobytes()


def test_the_default_number_of_threads_does_not_fall_while_another_limits_blas(monkeypatch):
    monkeypatch.setattr("fastbcd.devices.threads.available_processors", lambda: 2)
    with BLAS_LIMIT:
        assert set(blas_threads()) == {1}
        assert resolve_threads(None) == 2


def test_one_owner_sets_the_limit_once_whichever_thread_comes_first_or_goes_last():
    came, go = threading.Event(), threading.Event()

    def first():
        with BLAS_LIMIT:
            came.set()
            go.wait()
        return blas_threads()

    with ThreadPoolExecutor(1) as pool:
        counts = pool.submit(first)
        came.wait()
        with BLAS_LIMIT:
            assert set(blas_threads()) == {1}
            go.set()
            assert set(counts.result()) == {1}  # it left, and this thread has not
    assert set(blas_threads()) == {2}


def test_scipys_blas_is_limited_also_where_threadpoolctl_does_not_know_it(monkeypatch):
    class Early:
        def select(self, **options):
            return self

        lib_controllers = ()

    monkeypatch.setattr(threads, "ThreadpoolController", Early)
    monkeypatch.setattr("fastbcd.devices.threads.available_processors", lambda: 2)
    threads._libraries.cache_clear()
    try:
        (library,) = threads._libraries()
        assert library.num_threads == 2
        assert resolve_threads(None) == 2
        with threads.BlasLimit():
            assert library.num_threads == 1
            assert sorted(blas_threads()) == [1, 2]  # NumPy's is another one
        assert library.num_threads == 2
    finally:
        threads._libraries.cache_clear()


# The same where kernels call the process's BLAS.
SHARED = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np, threading
from concurrent.futures import ThreadPoolExecutor
from threadpoolctl import threadpool_limits
from fastbcd.callbacks import Callback
from fastbcd.devices import threads
import test_fits_in_threads as here
from fastbcd.kernels.library import LIBRARY
assert not LIBRARY.own
assert LIBRARY.description == "shared with the process: FASTBCD_BLAS=shared"
before = here.blas_threads()
seen = []

class Look(Callback):
    def on_iteration(self, solver, state, record):
        with solver.device.session():
            seen.extend(here.blas_threads())

alone = here.fit()
with ThreadPoolExecutor(2) as pool:
    for result in pool.map(here.fit, [0, 0, 0]):
        np.testing.assert_array_equal(result, alone)
    list(pool.map(lambda _: here.full_batch([Look()]), range(2)))
assert set(seen) == {{1}}, seen
assert here.blas_threads() == before, (before, here.blas_threads())
np.save(sys.argv[1], alone)
"""


def test_the_process_s_blas_gives_the_same_bits_in_any_thread_and_is_restored(tmp_path, alone):
    script = SHARED.format(tests=os.path.dirname(__file__))
    environment = {**os.environ, "FASTBCD_BLAS": "shared", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", script, str(tmp_path / "alone.npy")]
    subprocess.run(command, env=environment, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "alone.npy"), alone[0])


@pytest.mark.slow
def test_two_fits_at_once_take_at_most_1_3_times_the_two_one_after_the_other():
    inputs, targets = RNG.random((6000, 784), dtype=np.float32), one_hot(np.arange(6000) % 10, 10)

    def train(seed):
        solver = ThreeSplitting(Problem((784, 256, 256, 10)), n_threads=1)
        return solver.fit(inputs, targets, max_iter=3, seed=seed).state.W[1]

    train(0)  # compiles
    ratios = []
    for _ in range(5):  # other work of the machine only ever adds to a time
        start = time.perf_counter()
        one_by_one = [train(seed) for seed in range(2)]
        middle = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            at_once = list(pool.map(train, range(2)))
        ratios.append((time.perf_counter() - middle) / (middle - start))
        np.testing.assert_array_equal(at_once, one_by_one)
        if ratios[-1] <= 1.3:
            return
    raise AssertionError(ratios)


def test_a_wrong_choice_of_blas_is_refused():
    environment = {**os.environ, "FASTBCD_BLAS": "none"}
    command = [sys.executable, "-c", "import fastbcd.kernels.library"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "FASTBCD_BLAS=none: it must be own or shared" in run.stderr
