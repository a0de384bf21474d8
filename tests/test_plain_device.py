"""All algorithms on a device of plain NumPy give the same weights and use only the protocol."""

import inspect
from itertools import product

import numpy as np
import pytest
from plain_device import PlainBatches, PlainDevice, PlainSolves
from share import share

from fastbcd import MiniBatchThreeSplitting, Problem, ThreeSplitting, TwoSplitting, one_hot
from fastbcd.devices import CPU
from fastbcd.devices.cpu_batches import CPUBatches
from fastbcd.devices.cpu_solves import CPUSolves
from fastbcd.devices.protocol import Batches, Device
from fastbcd.devices.solves import Solves
from fastbcd.training.descent_log import DescentLog

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 5))
Y = one_hot(RNG.integers(0, 3, 60), 3)
WEIGHT = RNG.random(60) + 0.1
PROBLEMS = {
    "relu": {},
    "residual": {"residual": True, "activation": "tanh"},
    "penalties": {"weight_penalty": "l1:1e-2", "state_penalty": "nonnegative"},
    "ridges": {"weight_penalty": "ridge:1e-2", "state_penalty": "ridge:1e-2"},
    "other losses": {"loss": "cross_entropy", "activation": "softplus"},
}


def stepped(solver, **init):
    state = solver.init(X, Y, seed=1, **init)
    state.descent_log = DescentLog()
    for _ in range(4):
        solver.step(state)
    return state


NETWORKS = [*product(PROBLEMS, [ThreeSplitting, TwoSplitting])]
NETWORKS.remove(("residual", TwoSplitting))  # Algorithm 1 has no residual layers
# Nine networks, with and without weights: every other case has each of them once.
CASES = share([(*network, weighted) for weighted in (False, True) for network in NETWORKS], 2)


@pytest.mark.parametrize(("name", "kind", "weighted"), CASES)
def test_full_batches_take_the_same_steps(name, kind, weighted):
    problem = Problem((5, 6, 6, 3), **PROBLEMS[name])
    ours, plain = (kind(problem, alpha=0.1, dtype="float64", tile_rows=25) for _ in range(2))
    plain.device = PlainDevice()
    init = {"sample_weight": WEIGHT} if weighted else {}
    states = [stepped(solver, **init) for solver in (ours, plain)]
    for a, b in zip(*([*s.W[1:], *s.V[1:]] for s in states), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    for a, b in zip(*(s.descent_log.blocks.values() for s in states), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-10)
    numbers = [
        (*solver.objective_and_violation(state), solver.squared_subgradient(state))
        for solver, state in zip((ours, plain), states, strict=True)
    ]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-6)


@pytest.mark.parametrize("problem", [{}, {"residual": True}, {"loss": "cross_entropy"}], ids=str)
def test_mini_batches_take_the_same_steps(problem):
    network = Problem((5, 6, 6, 3), **problem)
    ours, plain = (
        MiniBatchThreeSplitting(network, rank=3, batch_size=30, dtype="float64") for _ in range(2)
    )
    plain.device = PlainDevice()
    states = [solver.init(X, Y, seed=1, passes=3) for solver in (ours, plain)]
    for solver, state in zip((ours, plain), states, strict=True):
        solver.step(solver.step(state))
    for a, b in zip(states[0].W[1:], states[1].W[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-8)
    assert ours.objective(states[0]) == pytest.approx(plain.objective(states[1]))


@pytest.mark.parametrize(
    ("protocol", "own"),
    [
        (Device, (CPU, PlainDevice)),
        (Solves, (CPUSolves, PlainSolves)),
        (Batches, (CPUBatches, PlainBatches)),
    ],
    ids=["device", "solves", "batches"],
)
def test_devices_have_what_the_protocol_has_with_the_same_arguments(protocol, own):
    for name, wanted in vars(protocol).items():
        if name.startswith("_") or not inspect.isfunction(wanted):
            continue
        for kind in own:
            found = inspect.signature(getattr(kind, name)).parameters
            assert list(found) == list(inspect.signature(wanted).parameters), (kind, name)
