"""Samples with any number of labels: estimator, model file, exports and command line."""

import csv

import numpy as np
import pytest
from command import fastbcd, history
from scipy.sparse import csr_matrix
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import accuracy_score, log_loss
from sklearn.utils import get_tags

from fastbcd import BCDClassifier, InputError, MiniBatchThreeSplitting, Model, Problem
from fastbcd.export import onnx_model, torch_module
from fastbcd.models.probabilities import LINKS

X, Y = make_multilabel_classification(300, 12, n_classes=4, n_labels=2, random_state=0)
ROWS, NEW = slice(200), slice(200, None)


def quick(**options):
    return BCDClassifier(**{"hidden_layer_sizes": (16,), "random_state": 0} | options)


def loss_of(p):
    return np.mean([log_loss(Y[NEW][:, j], p[:, j], labels=[0, 1]) for j in range(4)])


def test_each_label_has_a_logistic_output_which_the_solver_by_itself_gives():
    classifier = quick(max_iter=4, preprocess="none", batch_size=50).fit(X, Y)
    rows = np.lexsort(X.T)  # the estimator has an order of its own
    problem = Problem((12, 16, 4), loss="logistic_ovr")
    solver = MiniBatchThreeSplitting(problem, batch_size=50)
    assert classifier.model_.loss == "logistic_ovr"
    assert classifier.network_.widths == problem.widths
    # The sum over labels of what each label costs by itself.
    margins = (2 * Y - 1) * classifier.decision_function(X)
    state = solver.init(X[rows], Y[rows])
    state.mean_W[1:] = classifier.network_.W
    expected = np.log1p(np.exp(-margins)).sum(axis=1).mean()
    assert solver.objective(state) == pytest.approx(expected, rel=1e-5)


def test_predictions_probabilities_and_score_are_those_of_indicators():
    classifier = quick().fit(X[ROWS], Y[ROWS])
    p, predicted = classifier.predict_proba(X[NEW]), classifier.predict(X[NEW])
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-classifier.decision_function(X[NEW]))))
    np.testing.assert_array_equal(predicted, p > 0.5)
    assert predicted.dtype == Y.dtype
    assert classifier.score(X[NEW], Y[NEW]) == accuracy_score(Y[NEW], predicted)
    assert loss_of(p) < 0.8 * loss_of(np.tile(Y[ROWS].mean(axis=0), (100, 1)))
    for form in (csr_matrix(Y[ROWS]), Y[ROWS] > 0, Y[ROWS].astype(float), Y[ROWS].tolist()):
        same = quick(max_iter=1).fit(X[ROWS], form).predict_proba(X[NEW])
        np.testing.assert_array_equal(
            same, quick(max_iter=1).fit(X[ROWS], Y[ROWS]).predict_proba(X[NEW])
        )


def test_early_stopping_streams_and_warm_starts_take_labels():
    stopped = quick(early_stopping=True, max_iter=5).fit(X[ROWS], Y[ROWS])
    assert 0 <= stopped.best_validation_score_ <= 1
    stream = quick()
    for start in range(0, 200, 50):
        stream.partial_fit(X[start : start + 50], Y[start : start + 50])
    assert stream.predict(X[NEW]).shape == (100, 4)
    warm = quick(warm_start=True, max_iter=2).fit(X[ROWS], Y[ROWS])
    before = warm.loss_curve_[-1]
    assert warm.fit(X[ROWS], Y[ROWS]).loss_curve_[-1] < before
    weights = np.r_[np.ones(200), np.zeros(100)]
    one, other = quick(max_iter=2).fit(X, Y, weights), quick(max_iter=2).fit(X[ROWS], Y[ROWS])
    np.testing.assert_array_equal(one.network_.W[0], other.network_.W[0])


@pytest.mark.parametrize("loss", ["cross_entropy", "exponential", "hinge"])
def test_files_and_exports_keep_the_labels(loss, tmp_path):
    classifier = quick(loss=loss, max_iter=2).fit(X, Y)
    classifier.model_.save(tmp_path / "model")
    model = Model.load(tmp_path / "model")
    assert model.multi_label
    np.testing.assert_array_equal(model.predict(X), classifier.predict(X))
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(onnx_model(model).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"X": X.astype(np.float32)}), strict=True))
    np.testing.assert_array_equal(found["label"], model.predict(X))
    if loss == "hinge":
        assert "probabilities" not in found
        assert not hasattr(classifier, "predict_proba")
        return
    slope = LINKS[model.loss].slope
    expected = 1 / (1 + np.exp(-slope * model.outputs(X).astype(float)))
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=1e-6)
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)


@pytest.mark.parametrize("loss", ["cross_entropy", "exponential"])
def test_probabilities_of_labels_in_torch(loss):
    torch = pytest.importorskip("torch")
    model = quick(loss=loss, max_iter=2).fit(X, Y).model_
    with torch.no_grad():
        p = torch_module(model, probabilities=True)(torch.tensor(X, dtype=torch.float32))
    np.testing.assert_allclose(p, model.predict_proba(X), atol=1e-5)


def test_the_tag_follows_the_loss():
    assert get_tags(quick()).classifier_tags.multi_label
    assert get_tags(quick(loss="hinge")).classifier_tags.multi_label
    assert not get_tags(quick(loss="squared")).classifier_tags.multi_label


def changed(row, column, value):
    new = Y.astype(float)
    new[row, column] = value
    return new


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (changed(3, 1, 2), {}, "labels of 0 and 1, but row 3, column 1 is 2.0; give classes as"),
        (changed(3, 1, np.nan), {}, "y must be finite, but row 3, column 1 is nan"),
        (Y.astype(str), {}, "labels of 0 and 1, but holds <U21; give classes as a vector"),
        (changed(slice(None), 2, 1), {}, "y: the label 2 is 1 in all samples"),
        (Y, {"loss": "squared"}, "loss: 'squared' is not for several labels of 0 and 1; those"),
        (Y, {"loss": "cross_entropy:0.1"}, "loss: 'cross_entropy:0.1' is not for several labels"),
        (Y, {"class_weight": "balanced"}, "class_weight: it is for samples of one class each"),
    ],
)
def test_what_is_no_set_of_labels_is_refused(y, options, message):
    with pytest.raises(InputError, match=message):
        quick(**options).fit(X, y)


def test_a_run_goes_on_with_the_labels_it_began_with():
    warm = quick(warm_start=True, max_iter=1).fit(X, Y)
    with pytest.raises(InputError, match="y has classes, but had labels in columns before"):
        warm.fit(X, Y[:, 0])
    with pytest.raises(InputError, match="y has 3 labels in columns, but 4 are expected"):
        warm.fit(X, Y[:, :3])


def table(path, words=("0", "1")):
    """A table whose labels follow from its columns."""
    rng = np.random.default_rng(0)
    lines = ["age,city,sports,music"]
    for age in rng.integers(18, 80, 120):
        city = rng.choice(["Oslo", "Rome"])
        lines.append(f"{age},{city},{words[int(age < 45)]},{words[int(city == 'Oslo')]}")
    path.write_text("\n".join(lines) + "\n")


def test_the_command_line_trains_on_labels_and_predicts_them_by_name(tmp_path):
    table(tmp_path / "members.csv")
    command = ["train", "members.csv", "--target", "sports,music", "--hidden", "8"]
    more = ["--task", "multilabel", "--epochs", "40", "--damping", "1", "--out", "run"]
    out, _ = fastbcd(*command, *more, cwd=tmp_path)
    assert "predicts sports, music, 2 labels, of which a row has any number" in out
    assert float(history(tmp_path / "run")[-1]["test_accuracy"]) > 0.8
    new = "music,city,age,sports\nyes,Oslo,20,1\nno,Rome,70,0\n"
    (tmp_path / "new.csv").write_text(new)
    arguments = "predict", "run", "new.csv", "--proba", "--out", "p.csv"
    out, _ = fastbcd(*arguments, cwd=tmp_path)
    assert out == "new: accuracy 1.0 on 2 samples\n"
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction of music"] for row in rows] == ["1", "0"]
    assert [row["prediction of sports"] for row in rows] == ["1", "0"]
    assert float(rows[0]["probability of music"]) > 0.5 > float(rows[1]["probability of music"])
    _, err = fastbcd("plot", "run", "--confusion", cwd=tmp_path, status=2)
    assert "--confusion is for samples of one class" in err


def test_labels_in_words_need_no_task_and_other_columns_are_refused(tmp_path):
    table(tmp_path / "words.csv", ("no", "yes"))
    command = ["train", "words.csv", "--hidden", "4", "--epochs", "1", "--quiet", "--target"]
    fastbcd(*command, "music,sports", "--early-stopping", "--out", "run", cwd=tmp_path)
    assert Model.load(tmp_path / "run" / "model.safetensors").classes.tolist() == [
        "music",
        "sports",
    ]
    task = ["--task", "multilabel"]
    for arguments, message in [
        (["music", *task], "--target names one column, 'music', but several labels"),
        (["music,age", *task], "column 'age' must hold true and false, yes and no, or 1 and 0"),
        (["music,sports", "--loss", "squared"], "loss: 'squared' is not for several labels"),
        (["music,sports", "--class-weight", "balanced"], "--class-weight is for samples of one"),
    ]:
        _, err = fastbcd(*command, *arguments, "--out", "no", cwd=tmp_path, status=2)
        assert message in err
        assert not (tmp_path / "no").exists()
