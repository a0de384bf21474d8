"""ONNX graphs in onnxruntime, and the export command."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from command import SMALL
from exporting import ACTIVATION_TEXTS, EXTREME, KINDS, X, identity, make, on_mnist

from fastbcd import InputError, Model
from fastbcd.cli.main import main
from fastbcd.data import Preprocessing, load
from fastbcd.export import onnx_model
from fastbcd.kernels import Formula, linear, relu, tanh
from fastbcd.models.probabilities import LINKS


def run(graph, inputs):
    """Outputs by name of a graph (or of its file)."""
    content = graph if isinstance(graph, bytes | str) else graph.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    dtype = {"tensor(float)": np.float32, "tensor(double)": np.float64}[
        session.get_inputs()[0].type
    ]
    return dict(zip(names, session.run(None, {"X": inputs.astype(dtype)}), strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_TEXTS)
def test_every_activation_scaling_and_loss_gives_the_same_in_onnxruntime(activation, dtype):
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for kind, residual, loss in KINDS:
        model = make(activation, kind, residual, loss, dtype=dtype)
        results = run(onnx_model(model), X)
        expected = model.outputs(X)
        scale = np.maximum(1, np.abs(expected).max(axis=1, keepdims=True))
        assert results["outputs"].dtype == dtype
        np.testing.assert_allclose(results["outputs"] / scale, expected / scale, atol=tolerance)
        assert (results["label"] == model.predict(X)).all()
        assert ("probabilities" in results) == (loss in LINKS)
        if loss in LINKS:
            p = model.predict_proba(X[:40])
            np.testing.assert_allclose(results["probabilities"][:40], p, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LINKS)
def test_probabilities_of_extreme_outputs_are_those_of_the_model(loss, dtype):
    model = identity(loss, dtype)
    p = run(onnx_model(model), EXTREME)["probabilities"]
    np.testing.assert_allclose(p, model.predict_proba(EXTREME.astype(dtype)), atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        *((np.array([5, -1, 7]), np.int64), (np.array([5, 1, 7], np.uint8), np.int64)),
        *((np.array([1, 2, 2**64 - 1], np.uint64), np.uint64), (np.array(["a", "ä", ""]), object)),
        *((np.array(["x", "yy", "z"], object), object), (np.array([0.5, 1, 2]), np.float64)),
        (np.array([0.1, 1, 2], np.float32), np.float64),
    ],
    ids=lambda value: getattr(getattr(value, "dtype", None), "str", ""),
)
def test_labels_have_the_type_of_the_classes(classes, dtype):
    model = make(classes=classes)
    label = run(onnx_model(model), X)["label"]
    assert label.dtype == dtype
    assert label.tolist() == model.predict(X).tolist()


def test_labels_may_be_bools_and_one_sample_is_enough():
    model = make(classes=np.array([False, True]), k=2)
    results = run(onnx_model(model), X[:1])
    assert results["label"].dtype == bool
    assert results["label"].tolist() == model.predict(X[:1]).tolist()


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("last", [tanh(), relu()], ids=repr)
def test_regression_gives_predictions_in_the_units_of_the_targets(k, last):
    shift, scale = np.arange(1.0, k + 1), np.full(k, 0.5)
    for residual in (False, True):
        model = make(
            "relu", "clipped", residual, k=k, last=last, classes=None,
            target_shift=shift, target_scale=scale,
        )  # fmt: skip
        results = run(onnx_model(model), X)
        assert list(results) == ["prediction"]
        assert results["prediction"].shape == model.predict(X).shape
        np.testing.assert_allclose(results["prediction"], model.predict(X), atol=1e-5)
    assert run(onnx_model(make(classes=None)), X)["prediction"].shape == (len(X), 3)


@pytest.mark.parametrize("last", [linear(), relu()], ids=repr)
def test_the_poisson_loss_predicts_means(last):
    for scales in ({}, {"target_shift": np.arange(3.0), "target_scale": np.full(3, 0.5)}):
        model = make(classes=None, loss="poisson", last=last, dtype="float64", **scales)
        expected = np.exp(model.outputs(X[:40]))
        if scales:
            expected = expected * 0.5 + np.arange(3)
        np.testing.assert_allclose(model.predict(X[:40]), expected, rtol=1e-14)
        np.testing.assert_allclose(
            run(onnx_model(model), X[:40])["prediction"], expected, rtol=1e-12
        )


def test_inputs_are_float64_where_float32_would_lose_what_matters():
    far = X + 1.7e9  # seconds since 1970, of which float32 knows every 128th
    model = make(preprocessing=Preprocessing.fit(far[:40]))
    results = run(onnx_model(model), far)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(far), atol=1e-5)
    assert results["probabilities"].dtype == np.float32
    asked = run(onnx_model(model, dtype="float32"), far)
    assert np.abs(asked["probabilities"] - model.predict_proba(far)).max() > 0.1
    # The same of targets.
    model = make(classes=None, target_shift=np.array([0, 1e9, 0]))
    prediction = run(onnx_model(model), X)["prediction"]
    np.testing.assert_allclose(prediction[:, 1] - 1e9, model.outputs(X)[:, 1], atol=1e-5)


def test_numbers_beyond_float32_are_refused_in_it():
    model = make(preprocessing=Preprocessing(np.zeros(1), np.array([1e40])))
    assert onnx_model(model).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
    with pytest.raises(InputError, match="dtype: the model has numbers beyond float32; use"):
        onnx_model(model, "float32")


def test_the_graph_says_what_it_is():
    model = make(feature_names=["a", "b", "c", "ü"], residual=True)
    graph = onnx_model(model)
    onnx.checker.check_model(graph, full_check=True)
    metadata = {entry.key: json.loads(entry.value) for entry in graph.metadata_props}
    assert metadata == {
        "fastbcd": graph.producer_version,
        "widths": [4, 4, 4, 3],
        "activations": ["relu", "relu", "linear"],
        "residual": [True, True, False],
        "classes": [0, 1, 2],
        "feature_names": ["a", "b", "c", "ü"],
        "loss": "squared",
    }
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 13)]
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "samples"
    assert onnx_model(model).SerializeToString() == graph.SerializeToString()


def test_an_activation_of_a_users_own_is_refused():
    model = make()
    model.network.activations[0] = Formula("mine", value=relu().functions["value"])
    with pytest.raises(InputError, match="activation: mine cannot be exported; those that can"):
        onnx_model(model)


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    name, tmp_path, monkeypatch, capsys
):
    make().save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", str(tmp_path / "model"), "--to", name]) == 2
    assert capsys.readouterr().err == (
        f"fastbcd export: {name} is not installed: pip install 'fastbcd[{name}]', or pip install "
        f"{name}\n"
    )


def test_a_run_is_exported_and_predicts_the_same_and_nothing_is_overwritten(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    main(["train", *SMALL, "--out", "run", "--quiet"])
    assert main(["export", "run", "--to", "onnx"]) == 0
    path = tmp_path / "run" / "model.onnx"
    assert capsys.readouterr().out == (
        "run/model.onnx: X -> outputs, probabilities, label; takes raw inputs (n, 64) in float32\n"
    )
    assert main(["predict", "run", "--proba"]) == 0
    rows = [row.split(",") for row in capsys.readouterr().out.splitlines()]
    assert rows[0][:3] == ["sample", "prediction", "probability of 0"]
    X_test = load(None).X_test
    results = run(str(path), X_test)
    assert results["label"].tolist() == [int(row[1]) for row in rows[1:]]
    p = np.array([row[2:] for row in rows[1:]], float)
    np.testing.assert_allclose(results["probabilities"], p, atol=1e-5)

    before = path.read_bytes()
    assert main(["export", "run", "--to", "onnx"]) == 2
    assert capsys.readouterr().err == (
        "fastbcd export: --out: run/model.onnx exists already; name a new file\n"
    )
    assert path.read_bytes() == before
    again = ["export", "run/model.safetensors", "--to", "onnx", "--out", "again.onnx"]
    assert main([*again, "--dtype", "float64"]) == 0
    assert capsys.readouterr().out.endswith("takes raw inputs (n, 64) in float64\n")
    again = run(str(tmp_path / "again.onnx"), X_test)
    np.testing.assert_allclose(again["outputs"], results["outputs"], atol=1e-5)


def test_probabilities_are_written_beside_predictions_or_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["train", *SMALL, "--out", "run", "--quiet"])
    assert main(["predict", "run", "--proba", "--out", "p.csv"]) == 0
    assert capsys.readouterr().out.startswith("digits: accuracy ")
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()]
    p = np.array([row[2:] for row in rows[1:]], float)
    assert p.shape == (360, 10)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)
    assert [int(row[1]) for row in rows[1:]] == p.argmax(axis=1).tolist()
    main(["train", *SMALL, "--loss", "hinge", "--out", "hinge", "--quiet"])
    assert main(["predict", "hinge", "--proba"]) == 2
    assert "loss: hinge gives no probabilities; those that do: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--to", "onnx"], "nowhere/model.safetensors does not exist; a finished run"),
        (["model", "--to", "onnx", "--out", "no/x"], "--out: no/x cannot be written: "),
        (["README", "--to", "onnx"], "README is not a fastbcd model, or damaged: "),
    ],
)
def test_export_says_what_is_wrong(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make().save("model")
    (tmp_path / "README").write_text("not a model, and longer than eight letters")
    assert main(["export", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"fastbcd export: {message}")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README", "model"]


def test_an_exported_model_is_that_of_the_file(tmp_path):
    model = make("softplus", loss="cross_entropy")
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert onnx_model(loaded).SerializeToString() == onnx_model(model).SerializeToString()


@pytest.mark.slow
def test_mnist_in_onnxruntime_agrees_to_1e_5(mnist_folder):
    model, X_test = on_mnist(mnist_folder)
    results = run(onnx_model(model), X_test)
    np.testing.assert_allclose(results["probabilities"], model.predict_proba(X_test), atol=1e-5)
    assert (results["label"] == model.predict(X_test)).mean() > 0.9999
