"""With ``step_unit="output"`` the step size is the change of the pre-activations."""

from itertools import pairwise

import numpy as np
import pytest
from batches import digits, random_data
from stopping import StopAfter

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, one_hot, resume
from fastbcd.callbacks import Objective, SaveCheckpoint
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.layers import Conv2d, Dense

CONVOLUTION = Conv2d((8, 8, 1), channels=6, kernel=3, stride=2)
PIXELS, KINDS = 64, 4
ETA = 0.07
NETWORKS = {
    "dense": {"widths": (PIXELS, 20, 15, KINDS), "loss": "cross_entropy"},
    "squared": {"widths": (PIXELS, 20, KINDS)},
    "convolution": {
        "widths": (PIXELS, CONVOLUTION.d_out, KINDS),
        "layers": [CONVOLUTION, Dense(CONVOLUTION.d_out, KINDS)],
        "loss": "cross_entropy",
    },
}


def solver_of(name, batch_size=100, **options):
    options = {"step_unit": "output", "step_size": ETA, "dtype": "float64", **options}
    return MiniBatchThreeSplitting(Problem(**NETWORKS[name]), batch_size, **options)


def data(n):
    return random_data(n, d=PIXELS, k=KINDS)


def outputs(layer, V, W):
    """``A(V; W)``, with the bias of a channel at each of its positions."""
    U = layer.linear_part(V, W).reshape(-1, len(W)) + W[:, -1]
    return U.reshape(len(V), -1)


def changes(solver, X, Y, sample, momentum_batches=0):
    """rms of the change of U_l at the `sample`, by one step on the batch X, for each layer."""
    state = solver.init(X, Y, seed=2)
    for _ in range(momentum_batches):
        solver.partial_fit(state, X, Y)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y)
    V, found = sample, []
    for layer, old, new in zip(solver.problem.layers, before, state.W[1:], strict=True):
        found.append(np.sqrt(np.mean(outputs(layer, V, new - old) ** 2)))
        V = np.maximum(outputs(layer, V, old), 0.0)
    return np.array(found) / [*(1.0 for _ in before[1:]), state.output_unit]


@pytest.mark.parametrize("batches", [0, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_changes_the_outputs_of_a_small_batch_by_the_step_size(name, batches):
    X, Y = data(60)
    solver = solver_of(name, weight_decay=0, schedule="constant")
    assert changes(solver, X, Y, X, batches) == pytest.approx(ETA, rel=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_part_of_a_large_batch_is_measured_and_speaks_for_all_samples(name):
    X, Y = data(4000)
    solver = solver_of(name, batch_size=500, weight_decay=0, momentum=0, schedule="constant")
    found = changes(solver, X[:500], Y[:500], X)
    # A step fits the noise of its own batch, here random labels, and so changes it a little more.
    assert found == pytest.approx(ETA, rel=0.2)
    assert changes(solver, X[:500], Y[:500], X[:500:15]) == pytest.approx(ETA, rel=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_direction_is_that_of_the_fit(name):
    X, Y = data(100)
    steps = []
    for unit in ("fit", "output"):
        solver = solver_of(name, weight_decay=0, step_unit=unit)
        state = solver.init(X, Y, seed=2)
        before = [W.copy() for W in state.W[1:]]
        solver.partial_fit(state, X, Y)
        steps.append([new - old for new, old in zip(state.W[1:], before, strict=True)])
    for fit, output in zip(*steps, strict=True):
        norms = np.linalg.norm(fit) * np.linalg.norm(output)
        assert np.sum(fit * output) == pytest.approx(norms, rel=1e-9)


def trained(name, X, Y, n_threads, dtype="float32"):
    solver = solver_of(name, batch_size=150, n_threads=n_threads, dtype=dtype, rank=4)
    return solver.fit(X, Y, max_iter=2, seed=5).state.W[1:]


def test_threads_change_no_bit(monkeypatch):
    monkeypatch.setitem(NETWORKS, "wide", {"widths": (PIXELS, 600, KINDS)})
    X, Y = data(450)
    for name in ("wide", "convolution"):
        for a, b in zip(trained(name, X, Y, 1), trained(name, X, Y, 2), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_a_run_that_goes_on_has_the_bits_of_one_never_stopped(name, tmp_path):
    X, Y = data(300)
    path = tmp_path / "c.safetensors"
    whole = solver_of(name).fit(X, Y, max_iter=3, seed=1)
    solver_of(name).fit(X, Y, max_iter=3, seed=1, callbacks=[StopAfter(1), SaveCheckpoint(path)])
    gone_on = resume(path, solver_of(name), X, Y)
    for a, b in zip(whole.state.W[1:], gone_on.state.W[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_without_the_unit_is_of_a_run_that_fits(tmp_path):
    X, Y = data(100)
    path = tmp_path / "c.safetensors"
    stop = [StopAfter(1), SaveCheckpoint(path)]
    whole = solver_of("dense", step_unit="fit").fit(X, Y, max_iter=2, callbacks=stop)
    assert whole.state.iteration == 1
    tensors, metadata = read_checksummed(path, "checkpoint")
    assert metadata["solver"].pop("step_unit") == "fit"
    write_checksummed(path, tensors, metadata)
    with pytest.raises(InputError, match="step_unit was fit there, and is output here$"):
        resume(path, solver_of("dense"), X, Y)
    assert resume(path, solver_of("dense", step_unit="fit"), X, Y).state.iteration == 2


@pytest.mark.parametrize("name", ["dense", "convolution"])
def test_the_loss_falls_in_each_pass_with_the_default_step(name, monkeypatch):
    X, y, X_test, y_test = digits()
    network = {**NETWORKS[name], "widths": (*NETWORKS[name]["widths"][:-1], 10)}
    if name == "convolution":
        network["layers"] = [CONVOLUTION, Dense(CONVOLUTION.d_out, 10)]
    monkeypatch.setitem(NETWORKS, name, network)
    result = solver_of(name, 40, step_size=None, dtype="float32").fit(
        X, one_hot(y, 10), max_iter=4, callbacks=[Objective()]
    )
    losses = [row["objective"] for row in result.history]
    assert all(after < before for before, after in pairwise(losses))
    predicted = result.network.forward(X_test).argmax(axis=1)
    assert losses[-1] < 0.5 * losses[0]
    assert np.mean(predicted == y_test) > 0.8


def test_a_batch_that_moves_nothing_leaves_the_weights():
    X, Y = data(80)
    solver = solver_of("dense", weight_decay=0, schedule="constant")
    state = solver.init(X, Y)
    solver.partial_fit(state, X, Y)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y, sample_weight=np.zeros(len(X)))
    for old, new in zip(before, state.W[1:], strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_default_step_size_grows_with_the_batch_up_to_250():
    problem = Problem((5, 4, 3))
    sizes = [
        MiniBatchThreeSplitting(problem, m, step_unit="output").settings(10000).step_size
        for m in (40, 250, 1000)
    ]
    assert sizes == pytest.approx([0.02, 0.05, 0.05])


@pytest.mark.parametrize("value", ["rms", "", 1])
def test_another_unit_is_refused(value):
    with pytest.raises(InputError, match="^step_unit must be one of fit, output, spectral, got"):
        solver_of("dense", step_unit=value)


def test_a_convolution_may_be_the_last_layer_of_a_regression():
    last = Conv2d((8, 8, 1), channels=2, kernel=3, padding=1)
    X, _ = data(200)
    shifted = np.stack([X, 0.5 * np.roll(X, 1, axis=1) + 3.0], axis=2).reshape(len(X), -1)
    problem = Problem((PIXELS, last.d_out), layers=[last])
    solver = MiniBatchThreeSplitting(problem, 50, step_unit="output", dtype="float64")
    state = solver.init(X, shifted)
    means = shifted.reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose(state.W[1][:, -1], means, rtol=1e-12)
    first = solver.objective(state)
    for _ in range(5):
        solver.step(state)
    assert solver.objective(state) < 0.5 * first


def test_a_batch_that_moves_nothing_after_a_momentum_that_has_almost_vanished_keeps_W_finite():
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((40, 4)), rng.standard_normal((40, 2))
    solver = MiniBatchThreeSplitting(
        Problem((4, 6, 2)), batch_size=40, step_unit="output", dtype="float64", n_threads=1
    )
    state = solver.init(X, Y, passes=2)
    solver.partial_fit(state, X, Y)
    for M in state.S[1:]:
        M *= 1e-156  # the squared change is then a subnormal number
    solver.partial_fit(state, X, Y, np.zeros(40))
    for W in state.W[1:]:
        assert np.isfinite(W).all()
