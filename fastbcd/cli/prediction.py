"""Predictions of a finished run, and the labels to compare them with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import load
from fastbcd.data.inputs import check_same_shape
from fastbcd.data.labels import encode
from fastbcd.data.table import UNNAMED
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path


@dataclass
class Prediction:
    """Labels (n,) that were predicted for data called `name`, and `labels` if they are known.

    `classes` (k,) are those of the model, sorted; `probabilities` is (n, k) or None.
    """

    name: str
    predicted: Any
    labels: Any
    classes: Any
    probabilities: Any = None

    @property
    def accuracy(self) -> float:
        """Share of samples whose predicted label is right."""
        return float(np.mean(self.predicted == self.labels))


def predict(
    folder: RunFolder,
    data: str | None = None,
    target: str | None = None,
    threads: int | None = None,
    proba: bool = False,
) -> Prediction:
    """Predict labels of `data`, or of the run's own test set, with the model of `folder`.

    Raises
    ------
    InputError
        The run is not finished, the data cannot be read or do not fit the model, or a label
        did not occur in training.
    """
    config = folder.read_config()
    model = folder.read_model()
    if model.classes is None:
        raise InputError(f"{folder.model} predicts numbers; this command is for classes")
    if proba:
        model.loss_of_probabilities()
    own = data is None
    if own and config["data"] is not None and not user_path(config["data"]).exists():
        raise InputError(
            f"{config['data']}, the data of this run, does not exist; if it moved, name its new "
            "place"
        )
    dataset = load(
        config["data"] if own else data,
        target=target or config["target"],
        target_required=target is not None,
        test_fraction=config["test_fraction"],
        training=False,
        held_out=own,
        # Models of earlier versions were also trained on row numbers.
        index=bool(model.feature_names and UNNAMED.fullmatch(model.feature_names[0])),
    )
    if model.image_shape and dataset.image_shape:
        check_same_shape(
            model.image_shape,
            dataset.image_shape,
            "the model was trained on images",
            f"{dataset.name} has",
        )
    X = model.arrange(dataset.X_test, dataset.feature_names, dataset.name)
    names = dataset.feature_names and (model.feature_names or dataset.feature_names)
    predicted = model.predict(X, threads, names)
    labels = dataset.y_test
    if labels is not None:
        labels = model.classes[encode(labels, model.classes, dataset.name)]
    probabilities = model.predict_proba(X, threads, names) if proba else None
    return Prediction(dataset.name, predicted, labels, model.classes, probabilities)
