"""``output_rank`` makes steps shorter in the directions in which the updates of samples agree."""

from functools import partial

import numpy as np
import pytest
from batches import (
    KINDS,
    NETWORKS,
    PIXELS,
    check_threads_change_no_bit,
    random_data,
)
from stopping import StopAfter

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, resume
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.devices.cpu import CPU
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.solvers.mini_batch.gram_metric import GramMetric

ALL = 1000  # more directions than a layer has


def solver_of(name, batch_size=100, **options):
    options = {"output_rank": 3, "dtype": "float64", "step_unit": "fit", **options}
    return MiniBatchThreeSplitting(Problem(**NETWORKS[name]), batch_size, **options)


def gradient_steps(problem, W, X, Y):
    """``N_l = D_l^T V^_{l-1} / m`` with D_l the negative gradient, and the D_l, by positions."""
    V, U = [X], []
    for layer, own in zip(problem.layers, W, strict=True):
        linear = layer.linear_part(V[-1], own).reshape(-1, len(own)) + own[:, -1]
        U.append(linear.reshape(len(X), -1))
        V.append(np.maximum(U[-1], 0.0))
    D, updates = Y - U[-1], []
    for l in reversed(range(len(W))):
        updates.insert(0, D.reshape(-1, len(W[l])))
        if l > 0:  # only dense layers have layers below in these networks
            D = (D @ W[l][:, :-1]) * (U[l - 1] > 0)
    return updates


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_step_is_multiplied_by_the_inverse_root_of_the_second_moment(name):
    X, Y = random_data(80, d=PIXELS, k=KINDS)
    steps = []
    for rank in (0, ALL):
        solver = solver_of(name, output_rank=rank, weight_decay=0, displacement=1e-6, momentum=0)
        state = solver.init(X, Y, seed=2)
        before = [W.copy() for W in state.W[1:]]
        solver.partial_fit(state, X, Y)
        steps.append([new - old for new, old in zip(state.W[1:], before, strict=True)])
    updates = gradient_steps(solver.problem, before, X, Y)
    for plain, weighed, D in zip(*steps, updates, strict=True):
        C = D.T @ D / len(D)
        values, vectors = np.linalg.eigh(C)
        level = 0.1 * values.mean()
        factors = np.sqrt(level / (values.clip(0) + level))
        assert (factors <= 1.0).all()
        assert factors.min() < 0.5
        expected = (vectors * factors) @ vectors.T @ plain
        np.testing.assert_allclose(weighed, expected, rtol=0, atol=1e-4 * abs(expected).max())


def test_a_memory_counts_earlier_batches_as_so_many():
    device, rng = CPU(n_threads=1), np.random.default_rng(0)
    metric = GramMetric(device, 5, 5, 0.1, "float64", 0, power=0.5, remembered=3)
    batches = [rng.standard_normal((30, 5)) @ np.diag([3.0, 1, 1, 1, 0.2]) for _ in range(6)]
    expected, count = np.zeros((5, 5)), 0
    for pair in (batches[:1], batches[1:4], batches[4:]):
        for D in pair:
            metric.add_products(D.T @ (D @ metric.Q) / 30, float(np.sum(D * D)) / 30)
        expected, count = expected * count + sum(D.T @ D / 30 for D in pair), count + len(pair)
        expected, count = expected / count, min(3, count)
        assert metric.renew(device, None)
        assert metric.batches == count
        values, vectors = np.linalg.eigh(expected)
        level = 0.1 * values.mean()
        factors = 1.0 - np.sqrt(level / (level + values))
        own = metric.Q @ metric.directions
        np.testing.assert_allclose(own, (vectors * factors) @ vectors.T, atol=1e-12)


def test_updates_of_zero_stay_zero():
    X, Y = random_data(80, d=PIXELS, k=KINDS)
    solver = solver_of("dense", weight_decay=0)
    state = solver.init(X, Y, seed=2)
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y, sample_weight=np.zeros(len(X)))
    for old, new in zip(before, state.W[1:], strict=True):
        np.testing.assert_array_equal(old, new)
    solver.partial_fit(state, X, Y)
    assert all(np.isfinite(W).all() for W in state.W[1:])


def test_threads_change_no_bit():
    X, Y = random_data(450, d=PIXELS, k=KINDS)
    for name in NETWORKS:
        check_threads_change_no_bit(partial(solver_of, name, 150, dtype="float32"), X, Y)


def test_a_run_that_goes_on_has_the_bits_of_one_never_stopped(tmp_path):
    X, Y = random_data(300, d=PIXELS, k=KINDS)
    path = tmp_path / "c.safetensors"
    whole = solver_of("convolution").fit(X, Y, max_iter=3, seed=1)
    stop = [StopAfter(1), SaveCheckpoint(path)]
    solver_of("convolution").fit(X, Y, max_iter=3, seed=1, callbacks=stop)
    with pytest.raises(InputError, match="output_rank was 3 there, and is 0 here$"):
        resume(path, solver_of("convolution", output_rank=0), X, Y)
    gone_on = resume(path, solver_of("convolution"), X, Y)
    for a, b in zip(whole.state.W[1:], gone_on.state.W[1:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_older_checkpoint_has_no_output_metric(tmp_path):
    X, Y = random_data(100, d=PIXELS, k=KINDS)
    path, solver = tmp_path / "c.safetensors", solver_of("dense", output_rank=0)
    solver.fit(X, Y, max_iter=2, callbacks=[StopAfter(1), SaveCheckpoint(path)])
    tensors, metadata = read_checksummed(path, "checkpoint")
    assert metadata["solver"].pop("output_rank") == 0
    write_checksummed(path, tensors, metadata)
    assert resume(path, solver, X, Y).state.iteration == 2


@pytest.mark.parametrize("value", [-1, 2.5, "all"])
def test_another_rank_is_refused(value):
    with pytest.raises(InputError, match="^output_rank must be"):
        solver_of("dense", output_rank=value)
