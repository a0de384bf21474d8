"""A trained model in use and on disk: network, classes or target scale, preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.errors import InputError
from fastbcd.floating_point import own_errstate_in
from fastbcd.model_file import read_model, write_model
from fastbcd.network import Network
from fastbcd.validation import check_matrix


@own_errstate_in
@dataclass
class Model:
    """All that prediction needs: the class of the largest output, or outputs in the targets' units.

    Parameters
    ----------
    network : Network
        d inputs, k outputs.
    classes : (k,) array or None
        Sorted labels, numbers, bools or texts; None for regression.
    preprocessing : Preprocessing
        Of the inputs.
    feature_names : list of str, optional
        Of the d inputs, in the order of training.
    loss : str, optional
        Name of the loss that the network was trained with; class probabilities follow from it.
    target_shift, target_scale : (k,) array, optional
        float64, regression only: targets are ``outputs * target_scale + target_shift``.

    Raises
    ------
    InputError
        Parts that do not fit each other.
    """

    network: Network
    classes: NDArray[Any] | None
    preprocessing: Preprocessing
    feature_names: list[str] | None = None
    loss: str | None = None
    target_shift: NDArray[np.float64] | None = None
    target_scale: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        d, k = self.network.widths[0], self.network.widths[-1]
        if self.classes is not None:
            self.classes = np.asarray(self.classes)
            if self.classes.shape != (k,):
                raise InputError(f"classes must be one for each of the {k} outputs of the network")
        for name, array in self._scalings().items():
            allowed = ((1,), (d,)) if name in ("shift", "scale") else ((k,),)
            if array.shape not in allowed or not np.isfinite(array).all():
                raise InputError(f"{name} must be {' or '.join(map(str, allowed))} finite numbers")
        if not self.preprocessing.limit > 0:
            raise InputError(f"limit must be above 0, got {self.preprocessing.limit}")
        if not isinstance(self.loss, str | None):
            raise InputError(f"loss must be the name of a loss, got {self.loss!r}")
        if self.feature_names is not None and len(self.feature_names) != d:
            raise InputError(f"feature_names has {len(self.feature_names)} names, needed: {d}")

    def _scalings(self) -> dict[str, NDArray[Any]]:
        """Shifts and scales of inputs and targets, checked for whether there may be some."""
        scalings = {"shift": self.preprocessing.shift, "scale": self.preprocessing.scale}
        for name in ("target_shift", "target_scale"):
            if getattr(self, name) is not None:
                if self.classes is not None:
                    raise InputError(f"{name} is for regression, but there are classes")
                setattr(self, name, np.asarray(getattr(self, name), np.float64))
                scalings[name] = getattr(self, name)
        return scalings

    def outputs(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Network outputs (n, k) for raw inputs X (n, d); `InputError` where X does not fit."""
        X = check_matrix(X, "X")
        width = self.network.widths[0]
        if X.shape[1] != width:
            raise InputError(f"X has {X.shape[1]} features, but the model was trained on {width}")
        return self.network.forward(self.preprocessing(X, self.network.W[0].dtype), n_threads)

    def predict(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Class of the largest output for each row of X (n, d), with the type of `classes`.

        For regression ``outputs * target_scale + target_shift``, float64, (n,) for one target,
        else (n, k).
        """
        outputs = self.outputs(X, n_threads)
        if self.classes is not None:
            return self.classes[np.argmax(outputs, axis=1)]
        targets = outputs.astype(np.float64)
        if self.target_scale is not None:
            targets *= self.target_scale
        if self.target_shift is not None:
            targets += self.target_shift
        return targets[:, 0] if targets.shape[1] == 1 else targets

    def predict_proba(self, X: Any, n_threads: int | None = None) -> NDArray[np.float64]:
        """Probabilities (n, k) of the classes for X (n, d), float64; rows add up to 1.

        Raises
        ------
        InputError
            Regression, an unknown loss, or one without probabilities; see
            `fastbcd.probabilities`.
        """
        from fastbcd.probabilities import probabilities  # scipy.special takes a while

        return probabilities(self.loss_of_probabilities(), self.outputs(X, n_threads))

    def loss_of_probabilities(self) -> str:
        """Name of the loss; `InputError` where there are no classes or it is not known."""
        if self.classes is None:
            raise InputError("probabilities: this model predicts numbers, not classes")
        if self.loss is None:
            raise InputError(
                "probabilities: this model does not say which loss it was trained with (files "
                "before format 3 do not); train again, or set model.loss"
            )
        return self.loss

    def save(self, path: Path | str) -> None:
        """Write a safetensors file to `path`: plain arrays, one JSON text of metadata, a checksum.

        The same model gives the same bytes, and the file is whole or not there.

        Raises
        ------
        InputError
            The model has a part that such a file cannot hold: an activation that is not one of
            `ACTIVATIONS`, say.
        """
        write_model(Path(path), vars(self))

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read what `save` wrote to `path`; runs no code from the file.

        Raises
        ------
        InputError
            No such file, damaged in any of its bytes, or not a model of ours.
        """
        path = Path(path)
        parts = read_model(path)
        try:
            return cls(**parts)
        except InputError as error:
            raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None

    def arrange(self, X: NDArray[Any], names: list[str] | None, source: str) -> NDArray[Any]:
        """Columns of X, called `names`, in the order of training; `InputError` where one lacks.

        `source` says in the message where X is from.
        """
        if self.feature_names is None or names is None or names == self.feature_names:
            return X
        missing = [name for name in self.feature_names if name not in names]
        if missing:
            raise InputError(
                f"{source} has no column {missing[0]!r}, which the model was trained on"
            )
        return X[:, [names.index(name) for name in self.feature_names]]
