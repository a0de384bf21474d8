"""``nesterov``: steps follow the momentum as the same batch would change it once more."""

import json
from functools import partial

import numpy as np
import pytest
from batches import KINDS, NETWORKS, PIXELS, check_threads_change_no_bit, random_data
from command import fastbcd
from stopping import StopAfter

from fastbcd import BCDClassifier, InputError, MiniBatchThreeSplitting, Problem, resume
from fastbcd.callbacks import SaveCheckpoint

MU = 0.8
UNITS = ("fit", "output", "spectral")
X, Y = random_data(80, d=PIXELS, k=KINDS)


def solver_of(name="dense", batch_size=40, **options):
    options = {"nesterov": True, "momentum": MU, "step_unit": "fit", "dtype": "float64"} | options
    return MiniBatchThreeSplitting(Problem(**NETWORKS[name]), batch_size, **options)


def steps(solver, state, X, Y):
    """The change of each W by one batch."""
    before = [W.copy() for W in state.W[1:]]
    solver.partial_fit(state, X, Y)
    return [W - old for W, old in zip(state.W[1:], before, strict=True)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_second_step_follows_the_momentum_ahead(name):
    """Without a metric (rank 0) a step is a multiple c of what it follows."""
    options = {"rank": 0, "weight_decay": 0, "average": 0}
    ahead, plain = solver_of(name, **options), solver_of(name, nesterov=False, **options)
    states = [solver.init(X, Y, seed=1) for solver in (ahead, plain)]
    first = [steps(s, state, X, Y) for s, state in zip((ahead, plain), states, strict=True)]
    for one, other in zip(*first, strict=True):  # from a momentum of 0
        np.testing.assert_allclose(one, (1 + MU) * other, rtol=1e-9, atol=1e-13)
    for W, other in zip(states[0].W[1:], states[1].W[1:], strict=True):
        other[...] = W  # so the second batch has the same states in both runs
    before = [M.copy() for M in states[1].S[1:]]
    second = [steps(s, state, X, Y) for s, state in zip((ahead, plain), states, strict=True)]
    momenta = (before, states[1].S[1:], states[0].S[1:])
    for one, other, old, M, same in zip(*second, *momenta, strict=True):
        np.testing.assert_allclose(same, M, rtol=1e-9, atol=1e-13)
        c = np.vdot(other, M) / np.vdot(M, M)
        np.testing.assert_allclose(other, c * M, rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(one, c * ((1 + MU) * M - MU * old), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_plain_one_of_the_squared_momentum(name, unit):
    """``mu (mu M + (1 - mu) g) + (1 - mu) g = mu^2 M + (1 - mu^2) g``, in every metric and unit."""
    ahead = solver_of(name, step_unit=unit)
    plain = solver_of(name, step_unit=unit, nesterov=False, momentum=MU**2)
    states = [solver.init(X, Y, seed=3) for solver in (ahead, plain)]
    for solver, state in zip((ahead, plain), states, strict=True):
        solver.partial_fit(state, X, Y)
    one, other = states  # go on from the same weights and the same momentum
    for own, given in zip(other.W[1:] + other.S[1:], one.W[1:] + one.S[1:], strict=True):
        own[...] = given
    second = (steps(s, t, X[::-2], Y[::-2]) for s, t in zip((ahead, plain), states, strict=True))
    for one, other in zip(*second, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", NETWORKS)
def test_without_momentum_nothing_lies_ahead_and_with_it_the_second_step_differs(name, unit):
    for momentum, same in ((0.0, True), (MU, False)):
        weights = []
        for nesterov in (False, True):
            solver = solver_of(name, step_unit=unit, momentum=momentum, nesterov=nesterov)
            state = solver.init(X, Y, seed=2)
            for _ in range(2):
                solver.partial_fit(state, X, Y)
            weights.append(np.concatenate([W.ravel() for W in state.W[1:]]))
        assert np.allclose(*weights, rtol=1e-8, atol=1e-10) == same, momentum


@pytest.mark.parametrize("unit", UNITS)
def test_threads_change_no_bit(unit):
    for name in NETWORKS:
        make = partial(solver_of, name, dtype="float32", step_unit=unit, tile_rows=16)
        check_threads_change_no_bit(make, X, Y)


def test_a_run_that_was_interrupted_ends_in_the_same_weights(tmp_path):
    path = tmp_path / "checkpoint"
    whole = solver_of().fit(X, Y, max_iter=4)
    callbacks = [SaveCheckpoint(path), StopAfter(2)]
    solver_of().fit(X, Y, max_iter=4, callbacks=callbacks)
    for W, other in zip(
        resume(path, solver_of(), X, Y).state.W[1:], whole.state.W[1:], strict=True
    ):
        np.testing.assert_array_equal(W, other)
    with pytest.raises(InputError, match="nesterov was True there, and is False here"):
        resume(path, solver_of(nesterov=False), X, Y)


def test_estimators_and_the_command_line_have_it_and_refuse_other_values(tmp_path):
    labels = Y.argmax(axis=1)
    fits = [
        BCDClassifier((8,), max_iter=2, random_state=0, nesterov=given).fit(X, labels)
        for given in (None, False, True)
    ]
    usual, off, on = (fit.predict_proba(X) for fit in fits)
    assert (usual == off).all()
    assert (usual != on).any()
    with pytest.raises(InputError, match="^nesterov must be True or False, got 'yes'"):
        solver_of(nesterov="yes")
    with pytest.raises(InputError, match="^nesterov belongs to the solver mini-batch"):
        BCDClassifier((8,), solver="three-splitting", nesterov=True).fit(X, labels)
    run = ("train", "--hidden", "8", "--epochs", 2, "--quiet")
    for more in ((), ("--nesterov",)):
        fastbcd(*run, *more, "--out", f"run{len(more)}", cwd=tmp_path)
    configs = [json.loads((tmp_path / f"run{k}" / "config.json").read_text()) for k in range(2)]
    assert [config["nesterov"] for config in configs] == [False, True]
