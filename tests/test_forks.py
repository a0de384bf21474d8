"""`fork` and `spawn` during fits in other threads: no process hangs, and children agree."""

import os
import subprocess
import sys

import pytest
from share import count

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# One process for them all: it must not be the one of the tests, which has threads of its own.
START = """
import multiprocessing, os, signal, sys, threading, time
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from fastbcd import BCDClassifier, Problem, ThreeSplitting, kernels, one_hot
from fastbcd.devices.threads import BLAS_LIMIT, serial_blas
from fastbcd.kernels.library import LIBRARY
from fastbcd.kernels.blas import gram

rng = np.random.default_rng(0)
X = rng.normal(size=(400, 300))
y = (X[:, :3].sum(axis=1) > 0).astype(int)

def fit(n_threads=1):
    model = BCDClassifier((64,), max_iter=1, random_state=0, n_threads=n_threads)
    return model.fit(X, y)

model = fit()
expected = model.predict_proba(X)

def child(work):
    "Whether `work` ends within 20 seconds in a child of fork, without an error."
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0

def same():
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    np.testing.assert_array_equal(fit().predict_proba(X), expected)

class Beside(threading.Thread):
    "Fits on two threads again and again until the context ends."
    def __enter__(self):
        self.ended, self.fits = False, 0
        self.start()
    def run(self):
        while not self.ended:
            fit(n_threads=2)
            self.fits += 1
    def __exit__(self, *error):
        self.ended = True
        self.join()
        assert self.fits > 0

class Holding(threading.Thread):
    "Is in a context while another one is in the outer one."
    def __init__(self, context):
        super().__init__()
        self.context, self.inside, self.leave = context, threading.Event(), threading.Event()
    def run(self):
        with self.context:
            self.inside.set()
            self.leave.wait(0.5)
    def __enter__(self):
        self.start()
        self.inside.wait()
    def __exit__(self, *error):
        self.leave.set()
        self.join()
"""


def run(script, **environment):
    command = [sys.executable, "-W", "ignore", "-c", START + script]
    subprocess.run(command, env={**os.environ, **environment}, check=True, timeout=400)


CHILDREN = """
with Beside():
    for _ in range({n}):
        assert child(same)
"""


def test_children_beside_a_fit_and_locks_that_other_threads_hold():
    run(
        CHILDREN.format(n=12)
        + """
solver = ThreeSplitting(Problem((300, 64, 2)), n_threads=2)
solver.fit(X, one_hot(y, 2), max_iter=1)
state = solver.init(X, one_hot(y, 2))
before = {name: slot.value for name, slot in LIBRARY.slots.items()}

def another_instance():
    assert LIBRARY.own
    assert all(slot.value != before[name] for name, slot in LIBRARY.slots.items())
    same()

def the_same_instance():
    assert {name: slot.value for name, slot in LIBRARY.slots.items()} == before
    same()

assert child(the_same_instance)              # nobody was within BLAS
with Holding(serial_blas()):
    assert child(another_instance)
with Holding(solver.device.session()):       # a device that another thread uses
    assert child(lambda: solver.step(state))
with Holding(global_compiler_lock):          # another thread compiles
    assert child(lambda: solver.step(state))
    assert child(lambda: BLAS_LIMIT.__enter__())
with Holding(BLAS_LIMIT):                    # a limit whose owner the child lacks
    limited = BLAS_LIMIT._before
    def lifted():
        counts = [library.num_threads for library, _ in limited]
        assert counts == [count for _, count in limited], counts
    assert child(lifted)
assert {name: slot.value for name, slot in LIBRARY.slots.items()} == before
print("ok")
""",
        OMP_NUM_THREADS="2",
    )


@pytest.mark.slow
def test_many_children_beside_a_fit():
    run(CHILDREN.format(n=count(100, at_least=30)), OMP_NUM_THREADS="2")


@pytest.mark.soak
def test_processes_of_multiprocessing_beside_a_fit(tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(
        START
        + """
def work(_):
    return fit().predict_proba(X)

if __name__ == "__main__":
    with Beside():
        for method in ("fork", "spawn"):
            with multiprocessing.get_context(method).Pool(2) as pool:
                for result in pool.map(work, range(2)):
                    np.testing.assert_array_equal(result, expected)
"""
    )
    subprocess.run([sys.executable, "-W", "ignore", str(script)], check=True, timeout=400)


@pytest.mark.slow
def test_processes_of_joblib_give_the_same_bits(tmp_path):
    run(
        """
from joblib import Parallel, delayed
def proba(seed):
    return fit().predict_proba(X)
for result in Parallel(n_jobs=2)(delayed(proba)(seed) for seed in range(2)):
    np.testing.assert_array_equal(result, expected)
"""
    )


@pytest.mark.soak
def test_small_products_beside_which_a_child_found_a_lock_taken():
    # Without another instance of BLAS six of the first eighteen children hung here.
    run(
        """
import numba
@numba.njit(nogil=True)
def many(out, A):
    for _ in range(20000):
        gram(out, A, 0.0)
A, outs, ended = rng.normal(size=(4, 4)), np.empty((3, 4, 4)), False
many(outs[0], A)
def work(k):
    while not ended:
        with serial_blas():
            many(outs[k], A)
threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
[thread.start() for thread in threads]
def right():
    out = np.empty((4, 4))
    gram(out, A, 0.0)
    np.testing.assert_allclose(np.tril(out), np.tril(np.einsum("ki,kj", A, A)))
try:
    for _ in range(40):
        assert child(right)
finally:
    ended = True
"""
    )
