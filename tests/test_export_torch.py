"""Exported models in PyTorch; where it is not installed these tests skip."""

import subprocess
import sys

import numpy as np
import pytest
from exporting import ACTIVATION_TEXTS, EXTREME, KINDS, X, identity, make, on_mnist

from fastbcd import InputError
from fastbcd.cli.main import main
from fastbcd.data import Preprocessing
from fastbcd.export import torch_module, torch_source, torch_state
from fastbcd.kernels import relu, tanh
from fastbcd.models.probabilities import LINKS

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture(autouse=True)
def one_thread():
    """Arrays are tiny here, and threads of a busy machine wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def evaluate(module, inputs):
    dtype = next(module.parameters()).dtype
    with torch.no_grad():
        return module(torch.tensor(inputs, dtype=dtype)).numpy()


def check(model, outputs, tolerance):
    expected = model.outputs(X)
    scale = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
    np.testing.assert_allclose(outputs / scale, expected / scale, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_TEXTS)
def test_every_activation_scaling_and_loss_gives_the_same_in_torch(activation, dtype):
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for kind, residual, loss in KINDS:
        model = make(activation, kind, residual, loss, dtype=dtype)
        module = torch_module(model)
        assert isinstance(module, nn.Sequential)
        assert {p.dtype for p in module.parameters()} == {getattr(torch, dtype)}
        check(model, evaluate(module, X), tolerance)
        if loss in LINKS:
            p = evaluate(torch_module(model, probabilities=True), X[:40])
            np.testing.assert_allclose(p, model.predict_proba(X[:40]), atol=tolerance)
        else:
            with pytest.raises(InputError, match=f"loss: {loss} gives no probabilities"):
                torch_module(model, probabilities=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LINKS)
def test_probabilities_of_extreme_outputs_are_those_of_the_model(loss, dtype):
    model = identity(loss, dtype)
    p = evaluate(torch_module(model, probabilities=True), EXTREME)
    np.testing.assert_allclose(p, model.predict_proba(EXTREME.astype(dtype)), atol=1e-5)


def test_softplus_has_all_digits_above_the_threshold_of_torch():
    model = identity("squared", "float64", "softplus")
    inputs = np.arange(-60.0, 60.0).reshape(-1, 3)
    outputs = evaluate(torch_module(model), inputs)
    np.testing.assert_allclose(outputs, model.outputs(inputs), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("activation", ACTIVATION_TEXTS)
def test_the_source_file_alone_builds_the_same_network(activation):
    for kind, residual, loss in KINDS:
        model = make(activation, kind, residual, loss)
        names = {}
        exec(compile(torch_source(model), "model.py", "exec"), names)
        assert names["CLASSES"] == [0, 1, 2]
        for probabilities in (False, True):
            if probabilities and loss not in LINKS:
                with pytest.raises(ValueError, match="has no probabilities"):
                    names["build"](True)
                continue
            module = names["build"](probabilities)
            module.load_state_dict(torch_state(model))
            expected = evaluate(torch_module(model, probabilities), X)
            np.testing.assert_array_equal(evaluate(module, X), expected)


def test_the_source_file_has_numbers_of_python_alone():
    preprocessing = Preprocessing(np.zeros(4), np.ones(4), np.float64(5.0))
    source = torch_source(make("relu", preprocessing=preprocessing))
    assert "nn.Hardtanh(-5.0, 5.0)" in source
    exec(compile(source, "model.py", "exec"), {})


def test_a_sequential_written_by_hand_loads_the_state():
    plain = make("relu", "unit")
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    module.load_state_dict(torch_state(plain))
    check(plain, evaluate(module, X), 1e-5)
    cut = make("tanh", "clipped")
    scaling = nn.Unflatten(-1, (4, 1)), nn.Conv1d(4, 4, 1, groups=4), nn.Flatten(-2)
    layers = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)
    module = nn.Sequential(*scaling, nn.Hardtanh(-5, 5), *layers)
    module.load_state_dict(torch_state(cut))
    check(cut, evaluate(module, X), 1e-5)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("last", [None, tanh(), relu()], ids=repr)
def test_regression_gives_predictions_in_the_units_of_the_targets(k, last):
    parts = {"target_shift": np.arange(1.0, k + 1), "target_scale": np.full(k, 0.5)}
    parts |= {} if last is None else {"last": last}
    for residual in (False, True):
        model = make("relu", "clipped", residual, k=k, classes=None, **parts)
        prediction = evaluate(torch_module(model), X)
        assert prediction.shape == (len(X), k)
        expected = model.predict(X).reshape(len(X), k)
        np.testing.assert_allclose(prediction, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(InputError, match="predicts numbers, not classes"):
        torch_module(model, probabilities=True)


@pytest.mark.parametrize("last", [None, relu()], ids=repr)
def test_the_poisson_loss_predicts_means(last):
    parts = {} if last is None else {"last": last}
    for scales in ({}, {"target_shift": np.arange(3.0), "target_scale": np.full(3, 0.5)}):
        model = make(classes=None, loss="poisson", dtype="float64", **parts, **scales)
        names = {}
        exec(compile(torch_source(model), "model.py", "exec"), names)
        from_source = names["build"]()
        from_source.load_state_dict(torch_state(model))
        for module in (from_source, torch_module(model)):
            np.testing.assert_allclose(evaluate(module, X[:40]), model.predict(X[:40]), rtol=1e-12)


def test_tensors_are_float64_where_float32_would_lose_what_matters():
    far = X + 1.7e9
    for kind in ("standard", "clipped"):
        model = make(preprocessing=Preprocessing.fit(far[:40], kind))
        module = torch_module(model, probabilities=True)
        np.testing.assert_allclose(evaluate(module, far), model.predict_proba(far), atol=1e-5)
        rough = torch_module(model, probabilities=True, dtype="float32")
        assert np.abs(evaluate(rough, far) - model.predict_proba(far)).max() > 0.1
    with pytest.raises(InputError, match="dtype must be one of float32, float64"):
        torch_state(model, dtype="float16")


def test_making_a_module_leaves_the_generator_as_it_is_and_parameters_can_be_trained():
    before = torch.random.get_rng_state()
    module = torch_module(make())
    assert torch.equal(torch.random.get_rng_state(), before)
    module(torch.zeros(2, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_a_module_of_its_own_memory_does_not_change_the_model():
    model = make()
    expected = model.outputs(X)
    with torch.no_grad():
        for parameter in torch_module(model).parameters():
            parameter.zero_()
    np.testing.assert_array_equal(model.outputs(X), expected)


def test_the_command_writes_a_state_and_a_file_that_needs_neither_us_nor_pickled_code(
    tmp_path, capsys
):
    model = make("polynomial:0,1,0.1", "clipped", True, "exponential")
    model.save(tmp_path / "model.safetensors")
    assert main(["export", str(tmp_path / "model.safetensors"), "--to", "torch"]) == 0
    path = tmp_path / "model.pt"
    assert capsys.readouterr().out == (
        f"{path}: state of the torch.nn.Sequential that {tmp_path / 'model.py'} builds; takes raw "
        "inputs (n, 4) in float32\n"
    )
    state = torch.load(path, weights_only=True)
    torch_module(model).load_state_dict(state)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    script = (
        "import sys, numpy, torch, model\n"
        "network = model.load('model.pt', probabilities=True)\n"
        "p = network(torch.from_numpy(numpy.load('X.npy'))).detach().numpy()\n"
        "numpy.save('p.npy', p)\n"
        "assert 'fastbcd' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    p = np.load(tmp_path / "p.npy")
    np.testing.assert_allclose(p, model.predict_proba(X), atol=1e-5)


def test_the_command_overwrites_neither_of_its_files(tmp_path, capsys):
    make().save(tmp_path / "model")
    command = ["export", str(tmp_path / "model"), "--to", "torch", "--out"]
    for taken in ("net.pt", "net.py"):
        (tmp_path / taken).write_text("mine")
        assert main([*command, str(tmp_path / "net.pt")]) == 2
        assert f"{taken} exists already; name a new file" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model", taken]
        (tmp_path / taken).unlink()
    assert main([*command, str(tmp_path / "net.py")]) == 2
    assert "is for the state; name it .pt" in capsys.readouterr().err


@pytest.mark.slow
def test_mnist_in_torch_agrees_to_1e_5(mnist_folder):
    model, X_test = on_mnist(mnist_folder)
    p = evaluate(torch_module(model, probabilities=True), X_test)
    np.testing.assert_allclose(p, model.predict_proba(X_test), atol=1e-5)
    assert (p.argmax(axis=1) == model.predict(X_test)).mean() > 0.9999
