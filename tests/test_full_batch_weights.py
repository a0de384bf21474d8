"""Weights of samples in full batches: one of 2 is a repeated sample, one of 0 a missing one."""

import numpy as np
import pytest
from oracle import oracle_of
from rank_threads import on_ranks
from share import share
from stopping import StopAfter

from fastbcd import (
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    one_hot,
    resume,
)
from fastbcd.callbacks import Certify, Objective, SaveCheckpoint
from fastbcd.layers import Dense
from fastbcd.training.descent_log import DescentLog

N, WIDTHS = 50, (6, 8, 8, 3)
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, 6)), one_hot(RNG.integers(3, size=N), 3)
COUNTS = RNG.integers(0, 5, size=N)
COPIES, KEPT = np.repeat(np.arange(N), COUNTS), COUNTS > 0
WEIGHTS = RNG.exponential(size=N)


def three(more=None, **options):
    return ThreeSplitting(
        Problem(WIDTHS, **options),
        **{"alpha": 0.3, "dtype": "float64", "tile_rows": 16} | (more or {}),
    )


def two(more=None, **options):
    return TwoSplitting(
        Problem(WIDTHS, **{"activation": "tanh"} | options),
        **{"alpha": 0.3, "dtype": "float64", "tile_rows": 16} | (more or {}),
    )


SOLVERS = {
    "squared": lambda: three(rho=0.7, weight_penalty="ridge:0.1", state_penalty="ridge:0.2"),
    "residual, cross-entropy": lambda: three(
        loss="cross_entropy", residual=True, weight_penalty="elastic_net:0.01,0.5"
    ),
    "hinge, states penalised": lambda: three(
        loss="hinge", state_penalty="nonnegative/l1:0.01/box:-1,2", reduction="sum"
    ),
    "prox-linear": lambda: three({"loss_update": "prox-linear"}, loss="logistic_ovr"),
    "two-splitting": lambda: two(loss="exponential", weight_penalty="l1:1e-3"),
    "two-splitting, sum": lambda: two(
        {"inner_steps": 2}, reduction="sum", state_penalty="box:-1,1/none/none"
    ),
}
# Each compiles kernels of its own: the fast ones have each algorithm, reduction and kind of block.
FAST = ("squared", "two-splitting, sum")
NAMES = [
    name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
    for name in share(SOLVERS, at_most=3)
]
ACCELERATED = {
    "accelerated": lambda: three({"acceleration": "nesterov"}, weight_penalty="ridge:0.1"),
    "two-splitting, accelerated": lambda: two({"acceleration": "nesterov"}, reduction="sum"),
}
MAKE = {**SOLVERS, **ACCELERATED}
NUMBERS = ("objective", "constraint_gap", "decrease", "step", "subgradient", "tracked_objective")


def run(solver, X, Y, weight=None, max_iter=5):
    callbacks = [Objective(), Certify()]
    return solver.fit(X, Y, max_iter=max_iter, seed=1, callbacks=callbacks, sample_weight=weight)


def bits(result):
    state = result.state
    arrays = [A for A in (*state.W, *state.V, *state.U) if A is not None]
    numbers = [{k: v for k, v in r.items() if k != "seconds"} for r in result.history]
    return [A.tobytes() for A in arrays], numbers


@pytest.mark.parametrize("name", [*NAMES, *ACCELERATED])
def test_a_weight_is_so_many_copies_of_the_sample_in_every_array_and_number(name):
    weighted = run(MAKE[name](), X, Y, COUNTS)
    copied = run(MAKE[name](), X[COPIES], Y[COPIES])
    ours, theirs = weighted.state, copied.state
    copies = np.repeat(np.arange(KEPT.sum()), COUNTS[KEPT])
    for l in range(1, 4):
        np.testing.assert_allclose(ours.W[l], theirs.W[l], rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours.V[l][copies], theirs.V[l], rtol=0, atol=1e-11)
        if ours.U[l] is not None:
            np.testing.assert_allclose(ours.U[l][copies], theirs.U[l], rtol=0, atol=1e-11)
    for a, b in zip(weighted.history, copied.history, strict=True):
        for number in NUMBERS:
            assert a[number] == pytest.approx(b[number], rel=1e-9), number
    plain = run(MAKE[name](), X, Y)
    assert np.abs(ours.W[1] - plain.state.W[1]).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float64"])
def test_the_certificate_holds_with_any_weights_and_every_block_descends(name, dtype):
    solver = SOLVERS[name]()
    solver = type(solver)(solver.problem, alpha=0.3, loss_update=solver.loss_update, dtype=dtype)
    weight = WEIGHTS**3 + 1e-4  # from 1e-4 to 100
    certificate = run(solver, X, Y, weight, max_iter=30).certificate
    assert certificate.descended
    assert certificate.decreased_sufficiently
    assert certificate.tracking_error < {"float32": 1e-5, "float64": 1e-12}[dtype]
    state = solver.init(X, Y, seed=1, sample_weight=weight)
    state.descent_log = DescentLog()
    for _ in range(3):
        before = solver.objective(state)
        solver.step(state)
        noise = {"float32": 1e-5, "float64": 1e-12}[dtype] * before
        for block, (decrease, squared_step) in state.descent_log.blocks.items():
            assert decrease >= -noise, block
            assert squared_step >= 0, block
        assert before - solver.objective(state) == pytest.approx(
            state.descent_log.decrease, abs=noise
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [COUNTS, KEPT], ids=["numbers", "one or none"])
def test_samples_of_weight_0_are_not_there_to_the_last_bit(name, weight):
    changed = np.where(KEPT[:, None], X, 1e6 * X[::-1])
    with_zeros = run(SOLVERS[name](), changed, Y, weight)
    rest = weight[KEPT] if weight is COUNTS else None
    assert bits(with_zeros) == bits(run(SOLVERS[name](), X[KEPT], Y[KEPT], rest))
    assert with_zeros.state.n == with_zeros.state.n_total == KEPT.sum()


CASES = {
    "mean": {"reduction": "mean"},
    "sum": {"reduction": "sum"},
    "residual": {"residual": True, "gamma": 1.5, "rho": 0.7},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("tile_rows", [7, 100])
def test_five_steps_agree_with_the_weighted_oracle(case, tile_rows):
    options = {"weight_penalty": "ridge:0.1", "state_penalty": "none/ridge:0.2/ridge:0.1"}
    solver = three({"tile_rows": tile_rows, "n_threads": 2}, **options | CASES[case])
    state = solver.init(X, Y, seed=3, bias=0.1, sample_weight=WEIGHTS)
    oracle = oracle_of(solver, state, WEIGHTS)
    for _ in range(5):
        solver.step(state)
        oracle.step()
        assert solver.objective(state) == pytest.approx(oracle.objective(), rel=1e-12)
    for l in range(1, 4):
        for name in "WVU":
            ours, expected = getattr(state, name)[l], getattr(oracle, name)[l]
            np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-10, err_msg=f"{name}_{l}")


def test_the_objective_of_two_splitting_agrees_with_the_weighted_oracle():
    solver = two(weight_penalty="l1:0.1", state_penalty="box:-1,1/none/none")
    state = solver.init(X, Y, seed=3, sample_weight=WEIGHTS)
    for _ in range(3):
        solver.step(state)
    objective = oracle_of(solver, state, WEIGHTS).objective()
    assert solver.objective(state) == pytest.approx(objective, rel=1e-12)


def test_the_oracle_s_weights_are_copies():
    solver = three(weight_penalty="ridge:0.1", state_penalty="ridge:0.2")
    one = oracle_of(solver, solver.init(X[KEPT], Y[KEPT]), COUNTS[KEPT])
    other = oracle_of(solver, solver.init(X[COPIES], Y[COPIES]))
    for _ in range(3):
        one.step()
        other.step()
        assert one.objective() == pytest.approx(other.objective(), rel=1e-12)
    np.testing.assert_allclose(one.W[1], other.W[1], atol=1e-12)


def test_only_ratios_count_in_the_mean_and_equal_weights_are_none():
    solver = three()
    plain = run(solver, X, Y, WEIGHTS)
    for factor in (2.0**40, 2.0**-300):
        assert bits(run(solver, X, Y, factor * WEIGHTS)) == bits(plain)
    thrice = run(solver, X, Y, 3 * WEIGHTS)
    np.testing.assert_allclose(thrice.state.W[1], plain.state.W[1], rtol=0, atol=1e-12)
    for equal in (np.full(N, 0.3), [7] * N, 2, np.array(5.0), np.full(N, 1e308)):
        assert bits(run(solver, X, Y, equal)) == bits(run(solver, X, Y))


def test_a_weight_of_2_doubles_a_sum():
    solver = three(reduction="sum")
    once, twice = solver.init(X, Y), solver.init(X, Y, sample_weight=2)
    assert solver.objective(twice) == pytest.approx(2 * solver.objective(once), rel=1e-14)
    assert bits(run(solver, X, Y, np.ones(N))) == bits(run(solver, X, Y))
    with pytest.raises(InputError, match="must be at most 1e.15 with reduction='sum'"):
        solver.init(X, Y, sample_weight=np.full(N, 1e16))


def test_sums_that_are_exact_have_the_bits_of_copies():
    whole = RNG.integers(-9, 10, size=(N, 6)).astype(np.float32)
    device = three({"dtype": "float32"}).device
    sums = []
    for rows, weight in ((KEPT, COUNTS[KEPT].astype(float)), (COPIES, None)):
        V, R = whole[rows], np.ascontiguousarray(whole[rows, :3])
        equations = Dense(6, 3).weight_block(device, same_inputs=True)
        equations.start(keep_gram=False)
        with device.session():
            device.for_each_tile(
                *(len(V), (6, 3), V.dtype),
                lambda tile, e=equations, R=R, V=V, c=weight: e.add(
                    tile, R[tile.rows], V[tile.rows], *(() if c is None else [c[tile.rows]])
                ),
            )
        sums.append((equations.cross.copy(), np.tril(equations.gram)))
    np.testing.assert_array_equal(sums[0][0], sums[1][0])
    np.testing.assert_array_equal(sums[0][1], sums[1][1])
    ones = np.c_[whole, np.ones(N)]
    np.testing.assert_array_equal(sums[0][1], np.tril(ones.T @ (COUNTS[:, None] * ones)))


@pytest.mark.parametrize("name", FAST)
def test_threads_files_and_forms_of_the_weights_change_no_bit(name, tmp_path):
    solver = SOLVERS[name]()
    weight = np.where(KEPT, WEIGHTS, 0.0)
    expected = bits(run(solver, X, Y, weight))
    frozen = np.repeat(weight, 2)[::2]
    frozen.flags.writeable = False
    forms = [list(weight), frozen, weight.astype(object), weight.astype(">f8")]
    pandas = pytest.importorskip("pandas")
    forms.append(pandas.Series(weight, index=np.arange(N)[::-1]))
    for form in forms:
        assert bits(run(solver, X, Y, form)) == expected
    more = {"alpha": 0.3, "dtype": "float64", "tile_rows": 16}
    more |= {"inner_steps": 2} if name != "squared" else {}
    threads = type(solver)(solver.problem, n_threads=3, **more)
    assert bits(run(threads, X, Y, weight)) == expected
    try:
        mapped = type(solver)(solver.problem, memory="4GiB", folder=tmp_path, **more)
    except InputError:
        return  # the folder is in memory, or pages are not this system's
    np.save(tmp_path / "X.npy", X)
    for inputs in (X, np.load(tmp_path / "X.npy", mmap_mode="r")):
        assert bits(run(mapped, inputs, Y, weight)) == expected


@pytest.mark.parametrize("name", [*NAMES, *ACCELERATED])
def test_ranks_agree_with_one_process(name):
    solver = MAKE[name]()
    weight = np.where(np.arange(N) < 20, 0.0, WEIGHTS)  # the first rank is left without samples
    alone = run(solver, X, Y, weight)

    def one(ranks):
        solver = MAKE[name]()
        solver.device.ranks = ranks
        rows = slice(*((0, 18), (18, 40), (40, N))[ranks.rank])
        return run(solver, X[rows], Y[rows], weight[rows])

    for result in on_ranks(3, one):
        assert not isinstance(result, Exception), result
        for own, expected in zip(result.state.W[1:], alone.state.W[1:], strict=True):
            np.testing.assert_allclose(own, expected, rtol=0, atol=1e-10)
        for number in NUMBERS:
            last = result.history[-1][number]
            assert last == pytest.approx(alone.history[-1][number], rel=1e-8), number


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([None, np.ones(25)], "give it on all ranks, or on none"),
        ([np.zeros(25), np.zeros(25)], "zero for every sample"),
        ([np.ones(25), np.full(25, -1.0)], "number 0 is -1"),
    ],
)
def test_wrong_weights_on_one_rank_are_an_error_on_all(weights, message):
    def one(ranks):
        solver = three()
        solver.device.ranks = ranks
        rows = slice(25 * ranks.rank, 25 * ranks.rank + 25)
        return solver.init(X[rows], Y[rows], sample_weight=weights[ranks.rank])

    for error in on_ranks(2, one):
        assert isinstance(error, InputError)
        assert message in str(error)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), "one number for each of 50 samples, got shape .3,."),
        (np.ones((N, 1)), "got shape .50, 1."),
        (-np.ones(N), "not negative, but number 0 is -1"),
        (np.r_[np.ones(N - 1), np.nan], "number 49 is nan"),
        (np.r_[np.ones(N - 1), np.inf], "number 49 is inf"),
        (np.zeros(N), "sample_weight is zero for every sample"),
        (0, "sample_weight is zero for every sample"),
        (-1.0, "not negative, but number 0 is -1"),
        (["a"] * N, "numbers only"),
        (np.ones(N) + 1j, "numbers only"),
        (np.full(N, "2020-01-01", "datetime64[D]"), "numbers only"),
        ([10**400] * N, "numbers only"),
        ([1.0] * (N - 1) + [None], "number 49 is nan|numbers only"),
    ],
)
@pytest.mark.parametrize("solver", [three, two])
def test_wrong_weights_are_errors_that_name_the_culprit(solver, weight, message):
    with pytest.raises(InputError, match=message):
        solver().fit(X, Y, sample_weight=weight, max_iter=1)


def test_a_device_without_weights_says_so():
    solver = three()
    solver.device.name = "cuda"
    for weight in (WEIGHTS, KEPT):
        with pytest.raises(InputError, match="on the processor only; give device='cpu'"):
            solver.init(X, Y, sample_weight=weight)
    assert solver.init(X, Y, sample_weight=np.full(N, 2.0)).sample_weight is None


def test_a_resumed_run_has_the_same_bits_and_wants_the_same_weights(tmp_path):
    path, solver = tmp_path / "c.safetensors", three()
    weight = np.where(KEPT, WEIGHTS, 0.0)
    whole = solver.fit(X, Y, max_iter=6, sample_weight=weight, callbacks=[Objective()])
    stop = [Objective(), StopAfter(2), SaveCheckpoint(path)]
    solver.fit(X, Y, max_iter=6, sample_weight=weight, callbacks=stop)
    resumed = resume(path, solver, X, Y, callbacks=[Objective()], sample_weight=weight)
    assert bits(resumed) == bits(whole)
    for other in (None, WEIGHTS, COUNTS):
        with pytest.raises(InputError, match="or sample_weight is not what it was"):
            resume(path, solver, X, Y, sample_weight=other)


def test_mini_batches_keep_their_weights_in_the_checkpoint_and_compare_others(tmp_path):
    path, solver = tmp_path / "c.safetensors", MiniBatchThreeSplitting(Problem(WIDTHS))
    whole = solver.fit(X, Y, max_iter=4, sample_weight=WEIGHTS).network
    stop = [StopAfter(2), SaveCheckpoint(path)]
    solver.fit(X, Y, max_iter=4, sample_weight=WEIGHTS, callbacks=stop)
    for weight in (None, WEIGHTS):
        resumed = resume(path, solver, X, Y, sample_weight=weight).network
        np.testing.assert_array_equal(resumed.W[0], whole.W[0])
    for other in (COUNTS, 1.0):
        with pytest.raises(InputError, match="sample_weight was another there"):
            resume(path, solver, X, Y, sample_weight=other)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.slow
def test_weights_of_any_size_stay_finite_in_float32(name):
    problem = SOLVERS["squared" if name == "squared" else "two-splitting"]().problem
    solver = type(SOLVERS[name]())(problem, alpha=0.3)
    weight = np.where(np.arange(N) % 2, 1e300, 1e300 * WEIGHTS)
    weight[:5] = 1e-300
    result = run(solver, X, Y, weight, max_iter=10)
    assert result.certificate.descended
    almost = run(solver, X, Y, np.where(weight < 1, 0.0, weight), max_iter=10)
    for a, b in zip(result.network.W, almost.network.W, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
