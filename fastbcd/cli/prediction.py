"""Predictions of a finished run, and the labels or numbers to compare them with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import Dataset, TableOptions, load
from fastbcd.data.inputs import check_same_shape
from fastbcd.data.labels import encode
from fastbcd.data.table import UNNAMED
from fastbcd.data.tables.target import CLASSES, LABELS, NUMBERS
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.models.model import Model


@dataclass
class Prediction:
    """Labels (n,), or numbers or labels (n, k), that were predicted for data called `name`.

    `labels` are the right ones, of the same shape, if they are known. `classes` (k,) are those of
    the model, sorted, or None for numbers; `probabilities` is (n, k) or None. `targets` are the
    names of the k columns of numbers or labels.
    """

    name: str
    predicted: Any
    labels: Any
    classes: Any
    probabilities: Any = None
    targets: list[str] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        """Share of samples whose predicted label is right, or all of whose labels are."""
        right = self.predicted == self.labels
        return float(np.mean(right if right.ndim == 1 else right.all(axis=1)))

    @property
    def r2(self) -> float:
        """Mean over targets of ``1 - sum (y - p)^2 / sum (y - mean)^2``; 0 for a constant one."""
        error = np.square(self.labels - self.predicted).sum(axis=0)
        spread = np.square(self.labels - self.labels.mean(axis=0)).sum(axis=0)
        return float(np.mean(1.0 - np.divide(error, spread, np.ones_like(error), where=spread > 0)))


@dataclass(frozen=True)
class Request:
    """The files and columns to predict for; see the options of ``fastbcd predict``."""

    data: str | None = None
    target: str | None = None
    threads: int | None = None
    proba: bool = False
    separator: str | None = None
    decimal: str | None = None


def predict(folder: RunFolder, request: Request) -> Prediction:
    """Predict for the data of `request`, or the run's own test set, with the model of `folder`.

    Raises
    ------
    InputError
        The run is not finished, the data cannot be read or do not fit the model, or a label
        did not occur in training.
    """
    config = folder.read_config()
    model = folder.read_model()
    if request.proba:
        model.loss_of_probabilities()
    dataset = _load(config, model, request)
    if model.image_shape and dataset.image_shape:
        check_same_shape(
            model.image_shape,
            dataset.image_shape,
            "the model was trained on images",
            f"{dataset.name} has",
        )
    X = model.arrange(dataset.X_test, dataset.feature_names, dataset.name)
    names = dataset.feature_names and (model.feature_names or dataset.feature_names)
    predicted, labels = model.predict(X, request.threads, names), dataset.y_test
    if model.classes is None:
        return _of_numbers(config, dataset, predicted.reshape(len(X), -1))
    probabilities = model.predict_proba(X, request.threads, names) if request.proba else None
    if model.multi_label:
        labels, names = _label_columns(model, dataset), model.classes.tolist()
        return Prediction(dataset.name, predicted, labels, model.classes, probabilities, names)
    if labels is not None:
        labels = model.classes[encode(labels, model.classes, dataset.name)]
    return Prediction(dataset.name, predicted, labels, model.classes, probabilities)


def _label_columns(model: Model, dataset: Dataset) -> Any:
    """The right labels (n, k) in the order of the model's, found by name; None if unknown."""
    assert model.classes is not None
    names = model.classes.tolist()
    if dataset.y_test is None:
        return None
    if sorted(dataset.targets) != sorted(names):
        raise InputError(
            f"--target: the model's labels are {', '.join(names)}, got {', '.join(dataset.targets)}"
        )
    return dataset.y_test[:, [dataset.targets.index(name) for name in names]]


def _load(config: dict[str, Any], model: Model, request: Request) -> Dataset:
    """The data to predict for, as inputs of the model's network."""
    own = request.data is None
    if own and config["data"] is not None and not user_path(config["data"]).exists():
        raise InputError(
            f"{config['data']}, the data of this run, does not exist; if it moved, name its new "
            "place"
        )
    told = config if own else vars(request)
    return load(
        config["data"] if own else request.data,
        target=request.target or config["target"],
        target_required=request.target is not None,
        test_fraction=config["test_fraction"],
        training=False,
        held_out=own,
        # Models of earlier versions were also trained on row numbers.
        index=bool(model.feature_names and UNNAMED.fullmatch(model.feature_names[0])),
        table=TableOptions(
            task=_task_of(model),
            encoding=model.table,
            separator=told.get("separator"),
            decimal=told.get("decimal"),
        ),
    )


def _task_of(model: Model) -> str:
    """The task for which the model was trained."""
    if model.multi_label:
        return LABELS
    return NUMBERS if model.classes is None else CLASSES


def _of_numbers(config: dict[str, Any], dataset: Dataset, predicted: Any) -> Prediction:
    """The prediction of numbers (n, k), with a name for each column."""
    targets = dataset.targets or [part.strip() for part in str(config["target"]).split(",")]
    labels, k = dataset.y_test, predicted.shape[1]
    if len(targets) != k:  # one target, and an output for each level of a quantile loss
        levels = str(config["loss"]).partition(":")[2].split(",")
        same = len(targets) == 1 and len(levels) == k
        targets = [f"{targets[0]} at {level}" for level in levels] if same else [""] * k
        labels = None if labels is None else np.repeat(labels, k, axis=1)
    return Prediction(dataset.name, predicted, labels, None, None, targets)
