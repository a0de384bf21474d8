"""A trained model in use and on disk: network, classes or target scale, preprocessing."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.inputs import KINDS, Inputs, check_same_names
from fastbcd.data.label_values import faithful
from fastbcd.data.preprocessing import Preprocessing
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.models.model_file import read_model, texts, write_model
from fastbcd.models.network import Network
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import require_integer

logger = logging.getLogger("fastbcd")


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
    input_kind : {"b", "u", "i", "f", "n"}, optional
        Kind of the type that inputs had in training, as `numpy.dtype.kind`; "n": numbers in text.
    image_shape : tuple of int, optional
        Shape of one input in training, where it was an image.

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
    input_kind: str | None = None
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        d, k = self.network.widths[0], self.network.widths[-1]
        if self.classes is not None:
            if not isinstance(self.classes, np.ndarray):
                self.classes = faithful(self.classes, "classes")
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
        if self.feature_names is not None:
            if len(self.feature_names) != d:
                raise InputError(f"feature_names has {len(self.feature_names)} names, needed: {d}")
            self.feature_names = texts(self.feature_names, "feature_names")
        if self.input_kind not in (None, *KINDS):
            known = ", ".join(KINDS)
            raise InputError(f"input_kind must be one of {known}, got {self.input_kind!r}")
        if self.image_shape is not None:
            if not isinstance(self.image_shape, list | tuple):
                raise InputError(f"image_shape must be sizes, got {self.image_shape!r}")
            shape = self.image_shape = tuple(
                require_integer(size, "image_shape", at_least=1) for size in self.image_shape
            )
            if math.prod(shape) != d:
                raise InputError(f"image_shape {shape} has not the {d} elements of an input")

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

    @property
    def inputs(self) -> Inputs:
        """All that is known of the inputs, to compare others with."""
        width = self.network.widths[0]
        return Inputs(width, self.feature_names, self.input_kind, self.image_shape)

    def outputs(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Network outputs (n, k) for raw inputs X (n, d).

        Parameters
        ----------
        X : (n, d) array or data frame
            Or images, (n, ...), of the shape of training.
        n_threads : int, optional
            Default: as many as BLAS would use.
        names : sequence of str, optional
            Of the columns of an array; a data frame has its own.

        Raises
        ------
        InputError
            X differs from what the model was trained on, in number, names or order of columns, in
            the kind of numbers, or in the shape of images: names the first difference.
        """
        X = self.inputs.take(X, names)
        return self.network.forward(self.preprocessing(X, self.network.W[0].dtype), n_threads)

    def predict(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Class of the largest output for each row of X (n, d), with the type of `classes`.

        For regression ``outputs * target_scale + target_shift``, float64, (n,) for one target,
        else (n, k). Parameters and errors as for `outputs`.
        """
        outputs = self.outputs(X, n_threads, names)
        if self.classes is not None:
            return self.classes[np.argmax(outputs, axis=1)]
        targets = outputs.astype(np.float64)
        if self.target_scale is not None:
            targets *= self.target_scale
        if self.target_shift is not None:
            targets += self.target_shift
        return targets[:, 0] if targets.shape[1] == 1 else targets

    def predict_proba(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Probabilities (n, k) of the classes for X (n, d), float64; rows add up to 1.

        Parameters as for `outputs`.

        Raises
        ------
        InputError
            As for `outputs`; regression, an unknown loss, or one without probabilities: see
            `fastbcd.models.probabilities`.
        """
        from fastbcd.models.probabilities import probabilities  # scipy.special takes a while

        return probabilities(self.loss_of_probabilities(), self.outputs(X, n_threads, names))

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
        write_model(user_path(path), self)

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read a model that `save` wrote to `path`; runs no code from the file.

        Raises
        ------
        InputError
            No such file, damaged in any of its bytes, or not a model of ours.
        """
        path = user_path(path)
        arguments = read_model(path)
        try:
            return cls(**arguments)
        except InputError as error:
            raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None

    def arrange(self, X: NDArray[Any], names: list[str] | None, source: str) -> NDArray[Any]:
        """Columns of X, called `names`, in the order of training; `InputError` where one lacks.

        Columns that training did not have are left out, and the log says so. `source` says in
        messages where X is from.
        """
        if self.feature_names is None or names is None or names == self.feature_names:
            return X
        more = [name for name in names if name not in self.feature_names]
        if more and len(names) > len(self.feature_names):
            logger.warning(
                "%s: columns that the model was not trained on are left out: %s",
                *(source, ", ".join(map(repr, more))),
            )
        lacks = [name for name in self.feature_names if name not in names]
        if lacks:
            check_same_names(self.feature_names, names, source)
        return X[:, [names.index(name) for name in self.feature_names]]
