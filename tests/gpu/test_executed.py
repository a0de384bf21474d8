"""The GPU's machine code runs on the processor: sizes, order of threads, faults, NaN.

`test_gpu` compares all kernels and solvers with the CPU; it runs on the processor, too.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from agreement import arguments_of, check
from cards import executing, missing
from cases import ACTIVATIONS, cases
from share import share

if missing():
    pytest.skip(missing(), allow_module_level=True)

from compiled import Launcher, check_parameters, signature
from executed import Card, CardError, ptx
from host_library import REPLAYS, DeviceArray
from numba import cuda, types
from ptx_to_c import APPROXIMATIONS, UnknownInstructionError, opcodes, translate

import fastbcd.kernels.cuda as kernels
from fastbcd import Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd import kernels as cpu_kernels
from fastbcd.data import load
from fastbcd.kernels.cuda import target
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting

# The suite has passed on a card: this is what a card is not needed for, in the slow part of the
# tests, and what is too long for it under `soak`.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.slow]
# Several blocks across and down, in elementwise kernels and in those that take a row a thread.
CASES = {
    f"{case.function}[{case.name}]-{dtype}": case
    for dtype in ("float32", "float64")
    for case in cases(dtype, 517, 40)
}
# One formula for each function; the rest on demand.
FIRST = set({case.function: name for name, case in reversed(CASES.items())}.values())
SLOW = {"coordinate_descent", "search_rows"}


def parameter(name: str) -> Any:
    quick = name in FIRST and CASES[name].function not in SLOW
    return pytest.param(name, marks=[] if quick else [pytest.mark.soak])


def run(case: Any, order: int) -> list[Any]:
    """Return everything that a case writes and returns."""
    arguments = arguments_of(case, True, lambda array: array)
    with Card(checked=True, order=order).running():
        value = getattr(kernels, case.function)(*arguments)
    written = [a for a in arguments if isinstance(a, np.ndarray)]
    return [*written, *([] if value is None else [np.asarray(value)])]


@pytest.mark.parametrize("few_blocks", [False, True])
@pytest.mark.parametrize("name", [parameter(name) for name in share(CASES, at_most=2)])
def test_a_kernel_keeps_to_its_arrays_and_gives_what_the_cpu_gives(
    name: str, few_blocks: bool, monkeypatch: Any
) -> None:
    if few_blocks:  # then a thread takes several elements, and a block several rows
        limits = {"BLOCKS": 7, "SUM_BLOCKS": 2, "ROW_BLOCKS": 5}
        for limit, blocks in limits.items():
            monkeypatch.setattr(target, limit, blocks)
    with Card(checked=True).running() as card:
        # The CPU rounds these sums differently, because it adds one number after the other.
        check(CASES[name], kernels, slack=32.0)
    assert card.launches


@pytest.mark.parametrize("name", [parameter(name) for name in CASES])
def test_threads_and_blocks_in_another_order_give_the_same_bits(name: str) -> None:
    expected = run(CASES[name], 0)
    for order in (1, 2):
        for a, b in zip(expected, run(CASES[name], order), strict=True):
            np.testing.assert_array_equal(b, a)


# -- what a card would punish ---------------------------------------------------------------------


@cuda.jit
def _sum_without_a_barrier(out, A):
    memory = cuda.shared.array(256, types.float64)
    me = cuda.threadIdx.x
    memory[me] = A[me]
    cuda.syncthreads()
    half = 128
    while half > 0:
        if me < half:
            memory[me] += memory[me + half]
        half //= 2
    if me == 0:
        out[0] = memory[0]


@cuda.jit
def _barrier_of_half_a_block(out, A):
    memory = cuda.shared.array(256, types.float64)
    me = cuda.threadIdx.x
    memory[me] = A[me]
    if me < 128:
        cuda.syncthreads()
        out[me] = memory[255 - me]


@cuda.jit
def _one_too_far(out, A):
    me = cuda.threadIdx.x
    if me < out.shape[0]:
        out[me] = A[me + 1]


@cuda.jit
def _writes_behind_its_rows(out, A):
    me = cuda.threadIdx.x
    if me <= out.shape[1]:
        out[0, me] = A[me]


@cuda.jit
def _far_in_shared_memory(out, A):
    memory = cuda.shared.array(256, types.float64)
    memory[cuda.threadIdx.x + 1] = A[0]
    cuda.syncthreads()
    out[cuda.threadIdx.x] = memory[cuda.threadIdx.x]


@cuda.jit
def _all_add(out, A):
    out[0] += A[cuda.threadIdx.x]


@cuda.jit
def _blocks_read_each_other(out, A):
    me = cuda.threadIdx.x + cuda.blockIdx.x * 256
    out[me] = A[me]
    cuda.syncthreads()
    A[me] = out[511 - me]


@cuda.jit
def _copies(out, A):
    me = cuda.threadIdx.x
    if me < A.shape[0]:
        out[me] = A[me]


def launch(kernel: Any, out: Any, A: Any, blocks: int = 1, **options: Any) -> None:
    Card(checked=True, **options).launch(kernel, blocks, 256, (out, A))


FAULTS = {
    "no barrier": (_sum_without_a_barrier, "race", np.zeros(1), 1),
    "barrier of half a block": (_barrier_of_half_a_block, "different barriers", np.zeros(256), 1),
    "read too far": (_one_too_far, "read outside of all arrays", np.zeros(256), 1),
    "written behind a row": (
        _writes_behind_its_rows,
        "written outside of all arrays",
        np.zeros((2, 6))[:, :5],
        1,
    ),
    "shared memory": (_far_in_shared_memory, "outside of shared memory", np.zeros(256), 1),
    "all add to one": (_all_add, "race", np.zeros(1), 1),
    "blocks meet": (_blocks_read_each_other, "race", np.zeros(512), 2),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_names_its_kernel(name: str) -> None:
    kernel, what, out, blocks = FAULTS[name]
    with pytest.raises(CardError, match=f"{kernel.py_func.__name__}: .*{what}"):
        launch(kernel, out.copy() if out.ndim == 1 else out, np.ones(256 * blocks), blocks)


def test_an_address_that_is_not_aligned_is_a_fault() -> None:
    odd = np.zeros(8 * 257, np.uint8)[4:-4].view(np.float64)
    launch(_copies, np.zeros(256), np.ones(256))
    with pytest.raises(CardError, match="not aligned"):
        launch(_copies, np.zeros(256), odd)


def test_without_a_barrier_another_order_gives_another_sum() -> None:
    A, sums = np.arange(256.0), []
    for order in (0, 1):
        out = np.zeros(1)
        Card(order=order).launch(_sum_without_a_barrier, 1, 256, (out, A))
        sums.append(out[0])
    assert sums[0] != sums[1]


# -- the translation ------------------------------------------------------------------------------


def test_an_unknown_instruction_is_an_error_that_names_it() -> None:
    text = ptx(_copies, signature((np.zeros(1), np.zeros(1))))
    translate(text)
    for unknown in ("vote.sync.any.pred %p1, %p1, -1;", "fma.rz.f64 %fd1, %fd1, %fd1, %fd1;"):
        broken = text.replace("\tret;", f"\t{unknown}\n\tret;")
        with pytest.raises(UnknownInstructionError, match=unknown.split()[0]):
            translate(broken)


def test_words_that_the_kernel_does_not_read_are_refused(monkeypatch: Any) -> None:
    def without_last(self: Any, *arguments: Any) -> Any:
        return words(self, *arguments)[:-1]

    words = Launcher.words
    given = np.zeros(1), np.zeros(1)
    check_parameters(ptx(_copies, signature(given)), signature(given), given)
    monkeypatch.setattr(Launcher, "words", without_last)
    with pytest.raises(TypeError, match="parameters of"):
        check_parameters(ptx(_copies, signature(given)), signature(given), given)


@cuda.jit
def _arithmetic(out, A, B):
    me = cuda.threadIdx.x
    if me < A.shape[0]:
        a, b = A[me], B[me]
        out[0, me] = max(a, b)
        out[1, me] = min(a, b)
        out[2, me] = a < b
        out[3, me] = a != b
        out[4, me] = not a >= b
        out[5, me] = cuda.fma(a, b, -a)
        out[6, me] = cuda.selp(a == b, a, b)
        out[7, me] = a / b
        out[8, me] = abs(a)


def test_arithmetic_is_that_of_the_ieee_and_of_the_isa() -> None:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -3.0, 1e-310, 1.0 + 2**-30])
    A, B = (M.ravel().copy() for M in np.meshgrid(special, special))
    out = np.zeros((9, A.size))
    Card(checked=True).launch(_arithmetic, 1, 256, (out, A, B))
    with np.errstate(all="ignore"):
        # Minimum and maximum of a number and a NaN are the number.
        expected = [np.fmax(A, B), np.fmin(A, B), A < B, A != B, ~(A >= B)]
        for found, right in zip(out, expected, strict=False):
            np.testing.assert_array_equal(found, right)
        np.testing.assert_array_equal(out[6], np.where(A == B, A, B))
        np.testing.assert_array_equal(out[7], A / B)
    np.testing.assert_array_equal(out[8], abs(A))
    # A fused operation is exact; a product and a sum would each be rounded.
    last = special[-1]
    assert out[5][-1] == last * 2**-30
    assert last * last - last != out[5][-1]


@pytest.mark.soak
def test_approximations_occur_where_they_are_known() -> None:
    found: dict[str, set[str]] = {}
    target.record = []
    for name, act in ACTIVATIONS.items():
        A, B = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
        kernels.activate(A, act, B, None)
        kernels.update_preactivation(A, act, B, None, A.copy(), 1.0, 1.0, 0.1, None)
        for kernel, arguments in target.record:
            codes = opcodes(ptx(kernel, signature(arguments)))
            found.setdefault(name, set()).update(c for c in codes if ".approx" in c)
        target.record.clear()
    target.record = None
    assert set().union(*found.values()) <= APPROXIMATIONS
    assert not found["polynomial"] - {"div.approx.f32"}


# -- numbers that are not finite ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh", "softplus"])
def test_an_activation_of_nan_is_nan_and_of_infinity_its_limit(name: str, dtype: str) -> None:
    U = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 89.0, -104.0]], dtype)
    ours, theirs, act = np.empty_like(U), np.empty_like(U), ACTIVATIONS[name]
    cpu_kernels.activate(ours, act, U, None)
    with Card(checked=True).running():
        kernels.activate(theirs, act, U, None)
    np.testing.assert_allclose(theirs, ours, rtol=8 * np.finfo(dtype).eps)
    assert np.isnan(theirs[0, 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", pytest.param("tanh", marks=pytest.mark.soak)])
def test_a_proximal_step_shows_what_is_not_finite(name: str, dtype: str) -> None:
    bad = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 89.0, -104.0]], dtype)
    act = ACTIVATIONS[name]
    for which in range(3):
        arrays = [np.linspace(-2, 2, bad.size, dtype=dtype).reshape(bad.shape) for _ in range(3)]
        arrays[which] = bad
        ours, theirs = copy.deepcopy(arrays), copy.deepcopy(arrays)
        with np.errstate(all="ignore"):
            for where, (U, V, B) in ((cpu_kernels, ours), (kernels, theirs)):
                with Card(checked=True).running():
                    where.update_preactivation(U, act, V, None, B, 1.0, 0.7, 0.1, None)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.isfinite(b), np.isfinite(a))


def take_steps(solver: Any, state: Any, n: int) -> None:
    for _ in range(n):
        solver.step(state)


N = 300
RNG = np.random.default_rng(5)
X = RNG.standard_normal((N, 12)).astype(np.float32)
LABELS = RNG.integers(0, 3, N)
Y = one_hot(LABELS)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("activation", ["relu", pytest.param("tanh", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "solver", [ThreeSplitting, pytest.param(TwoSplitting, marks=pytest.mark.soak)]
)
def test_a_state_that_is_not_finite_ends_the_step(solver: Any, activation: str) -> None:
    with executing():
        trained = solver(Problem((12, 16, 16, 3), activation=activation), device="cuda")
        for block in ("V", "U"):
            layers = getattr(trained.init(X, Y, seed=1), block)
            for l in range(1, len(layers)):
                if layers[l] is None:
                    continue
                state = trained.init(X, Y, seed=1)
                getattr(state, block)[l][3, 2] = np.nan
                with pytest.raises(FloatingPointError, match="not finite any more"):
                    take_steps(trained, state, 2)


# -- real data ------------------------------------------------------------------------------------


@pytest.mark.soak
def test_mini_batches_learn_mnist_as_on_the_cpu(mnist_folder: Any) -> None:
    data = load(str(mnist_folder))
    accuracies = {}
    for device in ("cpu", "cuda"):
        with executing() as card:
            problem = Problem((784, 100, 10), loss="cross_entropy")
            solver = MiniBatchThreeSplitting(problem, batch_size=200, device=device)
            result = solver.fit(data.X_train / np.float32(255), one_hot(data.y_train), max_iter=1)
        assert (device == "cuda") == bool(card.launches)
        scores = result.network.forward(data.X_test / np.float32(255))
        accuracies[device] = float((scores.argmax(1) == data.y_test).mean())
    assert accuracies["cpu"] > 0.9
    assert abs(accuracies["cuda"] - accuracies["cpu"]) < 0.005


def test_device_arrays_are_what_kernels_get() -> None:
    A = np.ones(3).view(DeviceArray)
    out = np.zeros(3).view(DeviceArray)
    launch(_copies, out, A)
    assert np.asarray(out).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.soak
def test_networks_that_train_at_once_do_what_each_does_alone() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((640, 12)).astype(np.float32)
    Y = one_hot(rng.integers(0, 3, 640)).astype(np.float32)

    def train(seed: int) -> list[Any]:
        problem = Problem((12, 16, 3), loss="cross_entropy")
        solver = MiniBatchThreeSplitting(problem, batch_size=32, rank=4, device="cuda")
        return solver.fit(X, Y, 3, seed=seed).network.W

    with executing():
        alone = [train(seed) for seed in range(3)]
        REPLAYS.clear()
        with ThreadPoolExecutor(3) as threads:
            together = list(threads.map(train, range(3)))
    assert REPLAYS
    for ours, theirs in zip(alone, together, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(b, a)
