"""What is stored has keys that are written down: renaming an attribute cannot change a file."""

import copy
import inspect
import re
from types import SimpleNamespace

import numpy as np
import pytest
from stopping import StopAfter

from fastbcd import (
    Execution,
    InputError,
    MiniBatchThreeSplitting,
    Problem,
    ThreeSplitting,
    TwoSplitting,
    kernels,
    one_hot,
    resume,
)
from fastbcd.callbacks import Certify, EarlyStopping, Objective, SaveCheckpoint
from fastbcd.checkpoints import checkpoint, format_2
from fastbcd.checkpoints.serialisation import deserialise, serialise
from fastbcd.checkpoints.shards import Shard
from fastbcd.devices import CPU
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.layers import Dense
from fastbcd.solvers.mini_batch.gram_metric import GramMetric
from fastbcd.support.stored import check_state_dict
from fastbcd.training.certificate import Certificate

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4)).astype(np.float32)
Y = one_hot(RNG.integers(2, size=40), 2)
PROBLEM = Problem((4, 3, 2))


def certificate():
    kept = Certificate("float64", 0.5, 3.0, floor=1e-12)
    for k in range(1, 4):
        kept.add(k, 0.5 / k, 0.1, 3.0 - 0.5 * k, 0.2)
    return kept


def certify():
    callback = Certify()
    callback.certificate = certificate()
    return callback


def metric():
    return GramMetric(CPU(1), d=5, rank=2, damping=5.0, dtype=np.float32, seed=1)


METRIC = ["version", "Q", "level", "directions", "sketch", "batches", "trace_sum"]
# By class: an object, the keys that files have, and attributes that are not stored: data, what a
# run is given anew, and what follows from the rest.
CASES = {
    "State": (
        lambda: ThreeSplitting(PROBLEM).init(X, Y),
        ["version", "W", "V", "U", "iteration", "n_total", "sum_of_weights"],
        ["Y", "sample_weight", "momentum", "descent_log", "clock", "cache"],
    ),
    "MiniBatchState": (
        lambda: MiniBatchThreeSplitting(PROBLEM, 10, output_rank=1).init(X, Y),
        [
            *("version", "W", "mean_W", "S", "metrics", "output_unit", "length", "rng"),
            *("sample_weight", "gains", "rms_U", "rms_D", "batch_loss", "batches", "iteration"),
            *("n_total", "output_metrics"),
        ],
        ["X", "Y", "settings", "first", "clock", "cache"],
    ),
    "GramMetric": (metric, METRIC, ["damping", "rank", "ceiling", "power", "remembered", "first"]),
    "Certificate": (
        certificate,
        [
            *("version", "dtype", "promised", "floor", "start", "tracked", "evaluated"),
            *("first_iteration", "iterations", "largest_rise", "largest_bound", "tracking_error"),
            *("smallest_decrease", "rising", "failing", "stuck", "measured", "squared"),
        ],
        ["accelerated"],
    ),
    "EarlyStopping": (
        EarlyStopping,
        [
            *("version", "monitor", "mode", "best", "best_iteration", "to_beat", "waited"),
            "weights",
        ],
        ["n_iter_no_change", "tol"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_keys_are_those_written_down_and_every_attribute_is_accounted_for(name):
    make, keys, left_out = CASES[name]
    thing = make()
    assert list(thing.state_dict()) == keys
    assert thing.state_dict()["version"] == 1
    private = [attribute.lstrip("_") for attribute in vars(thing)]
    assert sorted(private) == sorted({*keys} - {"version"} | {*left_out})


def test_an_accelerated_state_has_the_keys_of_a_plain_one_and_those_of_its_momentum():
    state = ThreeSplitting(PROBLEM, acceleration="nesterov").init(X, Y)
    stored, plain = state.state_dict(), CASES["State"][1]
    arrays, numbers = (
        ["V_difference", "U_difference", "W_before", "W_start"],
        list(stored["momentum"]),
    )
    assert list(stored) == ["version", *arrays, "momentum", *plain[1:]]
    assert stored["version"] == 2
    assert numbers == ["k", "objective", "step", "restarts"]
    assert sorted(vars(state.momentum)) == sorted(["W", "V", "U", "W_start", "problem", *numbers])
    del stored["momentum"]["step"]
    with pytest.raises(InputError, match="^Momentum: 'step' is missing; its keys are 'k', 'obj"):
        state.load_state_dict(stored)


@pytest.mark.parametrize("name", [*CASES, "Certify", "Shard"])
def test_missing_and_unknown_keys_and_other_versions_are_named(name):
    if name == "Shard":
        thing, load = Shard("0-1.safetensors", 3, 5, "ab"), Shard.from_state_dict
    else:
        thing = certify() if name == "Certify" else CASES[name][0]()
        load = thing.load_state_dict
    owner = "Certificate" if name == "Certify" else name
    stored = thing.state_dict()
    load(stored)
    *_, last = stored
    lacking = {key: value for key, value in stored.items() if key != last}
    listed = re.escape(", ".join(map(repr, stored)))
    for wrong, message in (
        (lacking, f"^{owner}: '{last}' is missing; its keys are {listed}$"),
        ({**stored, "_colour": 3}, f"^{owner}: '_colour' is unknown; its keys are {listed}$"),
        ({**lacking, "_x": 3}, f"^{owner}: '{last}' is missing and '_x' is unknown; its keys are"),
        ([1], f"^{owner}: a table of {listed} is needed, got \\[1\\]$"),
    ):
        with pytest.raises(InputError, match=message):
            load(wrong)
    if "version" in stored:
        sentence = f"^{owner}: it is stored in version 2, and this release reads version 1; go on"
        with pytest.raises(InputError, match=sentence):
            load({**stored, "version": 2})
        del stored["version"]
        with pytest.raises(InputError, match=f"^{owner}: 'version' is missing"):
            load(stored)


@pytest.mark.parametrize("name", ["GramMetric", "Certificate", "EarlyStopping"])
def test_another_object_goes_on_from_what_was_stored(name):
    thing, other = CASES[name][0](), CASES[name][0]()
    if name == "GramMetric":
        V = RNG.standard_normal((30, 5)).astype(np.float32)
        thing.add(kernels, V, V @ thing.Q, Dense(4, 3))
    else:
        other = EarlyStopping() if name == "EarlyStopping" else Certificate("float64", 0.5, 1.0)
    other.load_state_dict(thing.state_dict())
    expected, tensors, others = thing.state_dict(), {}, {}
    assert serialise(expected, "", tensors) == serialise(other.state_dict(), "", others)
    for key, array in tensors.items():
        np.testing.assert_array_equal(others[key], array)


def test_arrays_are_filled_in_place_where_there_are_some():
    live = {"a": np.zeros(3), "list": [None, np.zeros(2)], "none": None}
    tensors = {}
    stored = serialise(
        {"a": np.ones(3), "list": [None, np.ones(2)], "none": np.ones(1)}, "", tensors
    )

    def fetch(name, old):
        if old is None:
            return tensors[name]
        old[...] = tensors[name]
        return old

    found = deserialise(stored, fetch, live)
    assert found["a"] is live["a"]
    assert found["list"][1] is live["list"][1]
    assert found["none"] is tensors["none"]
    np.testing.assert_array_equal(live["list"][1], np.ones(2))
    with pytest.raises(InputError, match="a list of 2 is stored, 1 are needed"):
        deserialise([1, 2], fetch, [0])


def test_an_object_that_no_file_can_hold_is_refused_by_name():
    with pytest.raises(TypeError, match="callbacks.0.x: a checkpoint cannot hold namespace"):
        serialise({"x": SimpleNamespace(a=1)}, "callbacks.0", {})


def solver_and_callbacks(mini_batch):
    if mini_batch:
        return MiniBatchThreeSplitting(PROBLEM, 10, output_rank=1), []
    return ThreeSplitting(PROBLEM), [Objective(), Certify()]


@pytest.fixture(params=[False, True], ids=["full batch", "mini-batch"])
def saved(request, tmp_path):
    solver, measured = solver_and_callbacks(request.param)
    path = tmp_path / "c.safetensors"
    solver.fit(X, Y, max_iter=4, callbacks=[*measured, StopAfter(2), SaveCheckpoint(path)])
    return path, request.param


def test_a_checkpoint_has_exactly_these_keys(saved):
    path, mini_batch = saved
    tensors, metadata = read_checksummed(path, "checkpoint")
    assert sorted(metadata) == sorted(
        [
            *("format", "solver", "data", "max_iter", "state", "samples", "parts", "history"),
            *("callbacks", "checksum"),
        ]
    )
    assert metadata["format"] == 3
    name = "MiniBatchState" if mini_batch else "State"
    assert sorted(metadata["state"]) == sorted(CASES[name][1])
    of_batches = {"W", "mean_W", "S", "metrics", "output_metrics", "gains", "rms_U", "rms_D"}
    arrays = {key.partition(".")[0] for key in tensors}
    assert arrays == (of_batches if mini_batch else {"W", "V", "U"})
    if not mini_batch:
        (remembered,) = [stored for kind, stored in metadata["callbacks"] if kind == "Certify"]
        assert sorted(remembered) == sorted(CASES["Certificate"][1])


def test_a_checkpoint_with_other_keys_is_refused_by_name(saved):
    path, mini_batch = saved
    tensors, metadata = read_checksummed(path, "checkpoint")
    owner = "MiniBatchState" if mini_batch else "State"

    def go_on(**changes):
        write_checksummed(path, tensors, {**metadata, **changes})
        solver, measured = solver_and_callbacks(mini_batch)
        return resume(path, solver, X, Y, measured)

    state = metadata["state"]
    for changes, message in (
        ({"colour": 3}, "c.safetensors: 'colour' is unknown; its keys are 'format', 'solver',"),
        ({"format": 4}, "c.safetensors has format 4, and this version reads 2 to 3; go on with"),
        ({"format": 1}, "c.safetensors has format 1, and this version reads 2 to 3; go on with"),
        ({"state": {**state, "_x": 1}}, f"c.safetensors: {owner}: '_x' is unknown; its keys are"),
        ({"state": {**state, "version": 9}}, f"c.safetensors: {owner}: it is stored in version 9"),
        ({"solver": {**metadata["solver"], "hue": 1}}, "hue was 1 there, and is None here"),
    ):
        with pytest.raises(InputError, match=message):
            go_on(**changes)
    del state["iteration"]
    with pytest.raises(InputError, match=f"c.safetensors: {owner}: 'iteration' is missing"):
        go_on()


def test_what_a_metric_or_a_callback_stored_under_other_keys_is_refused(saved):
    path, mini_batch = saved
    tensors, metadata = read_checksummed(path, "checkpoint")
    if mini_batch:
        stored, owner = metadata["state"]["metrics"][2], "c.safetensors: GramMetric"
    else:
        stored, owner = metadata["callbacks"][1][1], "Certificate"
    stored["colour"] = 3
    write_checksummed(path, tensors, metadata)
    solver, measured = solver_and_callbacks(mini_batch)
    with pytest.raises(InputError, match=f"{owner}: 'colour' is unknown; its keys are 'version'"):
        resume(path, solver, X, Y, measured)


OF_BOTH = ["alpha", "alpha_weights", "loss_update", "acceleration"]
SOLVERS = {
    "ThreeSplitting": (ThreeSplitting, OF_BOTH),
    "TwoSplitting": (TwoSplitting, [*OF_BOTH, "inner_steps"]),
    "MiniBatchThreeSplitting": (
        MiniBatchThreeSplitting,
        [
            *("batch_size", "step_size", "momentum", "damping", "schedule", "rank", "displacement"),
            *("rho", "weight_decay", "average", "step_unit", "augment", "dropout", "input_noise"),
            *("output_rank", "nesterov"),
        ],
    ),
}
# Of the machine, where the run takes place: another one may go on.
OF_THE_MACHINE = {"device", "n_threads", "tile_rows", "comm", "memory", "folder", "precision"}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_is_described_by_exactly_its_hyperparameters(name):
    make, own = SOLVERS[name]
    solver = make(PROBLEM)
    described = checkpoint.describe(solver, solver.init(X, Y))
    of_problem = [f"problem.{parameter}" for parameter in checkpoint.OF_PROBLEMS]
    assert sorted(described) == sorted(["solver", "dtype", "tile_rows", *own, *of_problem])
    parameters = {*inspect.signature(make).parameters} - {"execution", "where"}
    assert parameters == {"problem", *own}
    assert {*inspect.signature(Execution).parameters} == {"dtype", *OF_THE_MACHINE}
    # A penalty for all layers is stored as one for each.
    plural = {"activation", "weight_penalty", "state_penalty"}
    given = {*inspect.signature(Problem).parameters} - {"layers"}  # dense ones need no word
    assert given <= {*checkpoint.OF_PROBLEMS} | plural


def test_format_2_is_translated_key_by_key():
    metric = {"damping": 5.0, "rank": 2, "ceiling": 3.5, "Q": 1, "level": 1.0, "directions": 2}
    metric |= {"_image": 3, "_batches": 0, "_trace_sum": 0.0}
    metadata = {"format": 2, "max_iter": 9, "state": {"W": [None], "metrics": [None, metric]}}
    metadata["callbacks"] = [["Certify", {"_rising": 0, "tracked": 1.0}], ["Mine", {"_a": 1}]]
    found = format_2.upgraded(metadata)
    assert (found["format"], found["max_iter"]) == (3, 9)
    assert found["state"]["metrics"][0] is None
    check_state_dict(found["state"]["metrics"][1], CASES["GramMetric"][0]().state_dict(), "metric")
    certified = {"version": 1, "rising": 0, "tracked": 1.0}
    assert found["callbacks"] == [["Certify", certified], ["Mine", {"_a": 1}]]


@pytest.mark.parametrize("algorithm", [ThreeSplitting, MiniBatchThreeSplitting])
def test_a_state_that_was_pickled_with_a_dict_as_cache_goes_on(algorithm):
    solver = algorithm(PROBLEM)
    state = solver.step(solver.init(X, Y))
    old = object.__new__(type(state))
    old.__setstate__({**copy.deepcopy(state).__getstate__(), "cache": {}})
    solver.step(old)
    solver.step(state)
    np.testing.assert_array_equal(old.W[1], state.W[1])
