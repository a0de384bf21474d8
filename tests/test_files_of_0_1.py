"""Files that version 0.1.0 wrote: they load, and a run goes on from them as if never stopped."""

import json
import shutil

import numpy as np
import pytest
from command import fastbcd, history
from files_of_0_1 import write as old

from fastbcd import InputError, Model, resume
from fastbcd.callbacks import Callback, Objective, SaveCheckpoint
from fastbcd.checkpoints.checkpoint import read

# Arrays of a state; the mean weights and momentum are those of mini-batches.
BLOCKS = ("W", "V", "U", "mean_W", "S")


class Copy(Callback):
    """Keeps the blocks as they are after an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def on_iteration(self, solver, state, record):
        if record["iteration"] == self.iteration:
            self.blocks = blocks(state)


def blocks(state):
    arrays = [A for name in BLOCKS for A in getattr(state, name, [])]
    return [np.array(A) for A in arrays if A is not None]


def without_seconds(records):
    return [{k: v for k, v in record.items() if "seconds" not in k} for record in records]


def assert_alike(found, expected):
    """The same records and numbers; that version added up the decreases of blocks otherwise."""
    if isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
        return
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name != "in_words":
            assert found[name] == pytest.approx(value, rel=1e-5, abs=1e-12), name


def assert_same(found, expected, exactly):
    """The same bits; where the machine's sums are others than those in the file, nearly."""
    for a, b in zip(found, expected, strict=True):
        if exactly:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def whole_run(make, callbacks, weight):
    """The run that was never stopped, and its blocks where the file's run was."""
    copy = Copy(old.STOP)
    result = make().fit(
        *(old.X, old.Y, old.MAX_ITER),
        seed=3,
        callbacks=[*callbacks, copy],
        sample_weight=weight,
    )
    return result, copy.blocks


@pytest.mark.parametrize("name", old.CHECKPOINTS)
def test_a_run_goes_on_from_its_checkpoint_to_the_bits_of_one_never_stopped(name, tmp_path):
    make, callbacks, weight = old.CHECKPOINTS[name]
    whole, at_stop = whole_run(make, callbacks(), weight)
    path = old.HERE / f"checkpoint-{name}.safetensors"
    state = read(path).restore(make(), old.X, old.Y, weight)
    exactly = all(np.array_equal(a, b) for a, b in zip(blocks(state), at_stop, strict=True))
    again = tmp_path / "again.safetensors"
    result = resume(path, make(), old.X, old.Y, [*callbacks(), SaveCheckpoint(again, 7)], weight)
    assert_same(blocks(result.state), blocks(whole.state), exactly)
    assert_same(result.network.W, whole.network.W, exactly)
    # Written in today's format in between, it reaches the same end.
    once_more = resume(again, make(), old.X, old.Y, callbacks(), weight)
    assert_same(blocks(once_more.state), blocks(result.state), exactly=True)
    if exactly:
        assert_alike(without_seconds(result.history), without_seconds(whole.history))
        if whole.certificate is not None:
            for other in (result, once_more):
                assert_alike(other.certificate.as_dict(), whole.certificate.as_dict())
    for stopping, expected in zip(result.callbacks, whole.callbacks, strict=True):
        if hasattr(expected, "best_iteration"):
            assert stopping.best_iteration == expected.best_iteration


@pytest.mark.parametrize("name", ["three-splitting", "two-splitting"])
def test_a_run_of_that_version_does_not_go_on_as_an_accelerated_one(name):
    make, _, weight = old.CHECKPOINTS[name]
    solver = make()
    solver.acceleration = "nesterov"
    path = old.HERE / f"checkpoint-{name}.safetensors"
    with pytest.raises(InputError, match="acceleration was None there, and is nesterov here$"):
        read(path).restore(solver, old.X, old.Y, weight)


def test_one_process_goes_on_from_a_checkpoint_of_two_ranks():
    whole, at_stop = whole_run(old.two_ranks, [Objective()], None)
    path = old.HERE / "checkpoint-ranks.safetensors"
    state = read(path).restore(old.two_ranks(), old.X, old.Y)
    for a, b in zip(blocks(state), at_stop, strict=True):  # sums over ranks have another order
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    result = resume(path, old.two_ranks(), old.X, old.Y, [Objective()])
    for a, b in zip(blocks(result.state), blocks(whole.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", old.models())
def test_its_models_have_every_field_as_it_was(name, tmp_path):
    loaded, expected = Model.load(old.HERE / f"model-{name}.safetensors"), old.models()[name]
    assert loaded.network.activations == expected.network.activations
    assert loaded.network.residual == expected.network.residual
    for found, wanted in zip(arrays_of(loaded), arrays_of(expected), strict=True):
        assert getattr(found, "dtype", None) == getattr(wanted, "dtype", None)
        np.testing.assert_array_equal(found, wanted)
    for field in ("feature_names", "loss", "input_kind", "image_shape"):
        assert getattr(loaded, field) == getattr(expected, field)
    # Written again, it is the same file to the last byte.
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (
        old.HERE / f"model-{name}.safetensors"
    ).read_bytes()


def arrays_of(model):
    scaling = model.preprocessing
    targets = model.classes, model.target_shift, model.target_scale
    return [*model.network.W, scaling.shift, scaling.scale, scaling.limit, *targets]


def test_its_interrupted_run_ends_as_its_finished_one(tmp_path):
    shutil.copytree(old.HERE / "interrupted", tmp_path / "run")
    shutil.copy(old.HERE / "data.csv", tmp_path)
    # That version had no acceleration.
    plain = (*old.RUN, "--acceleration", "none")
    fastbcd("train", "data.csv", *plain, "--out", "whole", cwd=tmp_path)
    fastbcd("train", "data.csv", "--resume", "run", "--quiet", cwd=tmp_path)
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        file.name for file in (old.HERE / "finished").iterdir()
    }
    rows, expected = history(tmp_path / "run"), history(old.HERE / "finished")
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    model, whole = (Model.load(tmp_path / run / "model.safetensors") for run in ("run", "whole"))
    exactly = without_seconds(history(tmp_path / "whole")[:3]) == without_seconds(expected[:3])
    assert_same(model.network.W, whole.network.W, exactly)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["acceleration"] == "none"
    assert "restarts" not in summary


def test_its_interrupted_run_refuses_an_acceleration(tmp_path):
    shutil.copytree(old.HERE / "interrupted", tmp_path / "run")
    shutil.copy(old.HERE / "data.csv", tmp_path)
    options = ("train", "data.csv", "--resume", "run", "--quiet", "--acceleration")
    _, err = fastbcd(*options, "nesterov", cwd=tmp_path, status=2)
    assert "--acceleration: the run in run was started with none, not nesterov" in err
    fastbcd(*options, "none", cwd=tmp_path)


def test_its_finished_run_predicts(tmp_path):
    fastbcd("predict", old.HERE / "finished", old.HERE / "data.csv", "--out", "p.csv", cwd=tmp_path)
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert len(lines) == 1 + len(old.X)
    assert {line.split(",")[1] for line in lines[1:]} == {"round", "square"}
