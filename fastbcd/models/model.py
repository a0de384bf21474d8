"""A trained model: network, classes or target scale, and preprocessing, in memory and on disk."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.inputs import KINDS, Inputs, check_same_names, names_of
from fastbcd.data.label_values import faithful
from fastbcd.data.preprocessing import Preprocessing
from fastbcd.data.tables.column import columns_of
from fastbcd.data.tables.encoding import TableEncoding
from fastbcd.errors import InputError
from fastbcd.files.atomic import user_path
from fastbcd.models.means import means
from fastbcd.models.model_file import read_model, texts, write_model
from fastbcd.models.network import Network
from fastbcd.models.scaled_outputs import scaled_outputs
from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.parameters import flag, require_integer

logger = logging.getLogger("fastbcd")


@own_errstate_in
@dataclass
class Model:
    """A network with everything that prediction needs.

    It predicts the class of the largest output, or for regression outputs in the targets' units.
    With several labels it predicts 0 or 1 for each of them.

    Parameters
    ----------
    network : Network
        It has d inputs and k outputs.
    classes : (k,) array or None
        Sorted labels: numbers, bools or texts; None for regression.
    preprocessing : Preprocessing
        Scaling of the inputs.
    feature_names : list of str, optional
        Names of the d inputs, in the order of training.
    loss : str, optional
        Name of the loss that the network was trained with; class probabilities follow from it.
    target_shift, target_scale : (k,) array, optional
        For regression only, float64: targets are ``outputs * target_scale + target_shift``.
    input_kind : {"b", "u", "i", "f", "n"}, optional
        Kind of the type that inputs had in training, as `numpy.dtype.kind`; "n" for numbers that
        were read from text.
    image_shape : tuple of int, optional
        Shape of one input in training, if it was an image.
    table : TableEncoding, optional
        How the columns of a table become the d inputs. Then `outputs`, `predict` and
        `predict_proba` also take a data frame with these columns, in any order.
    multi_label : bool, default=False
        Whether a sample has any number of labels. `classes` are their names, sorted or not.

    Raises
    ------
    InputError
        The parts do not fit each other.
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
    table: TableEncoding | None = None
    multi_label: bool = False

    def __post_init__(self) -> None:
        d, k = self.network.widths[0], self.network.widths[-1]
        if self.classes is not None:
            if not isinstance(self.classes, np.ndarray):
                self.classes = faithful(self.classes, "classes")
            if self.classes.shape != (k,):
                raise InputError(f"classes must be one for each of the {k} outputs of the network")
        elif flag(self.multi_label, "multi_label"):
            raise InputError("multi_label needs classes, which are the names of the labels")
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
                raise InputError(f"image_shape {shape} does not have the {d} elements of an input")
        if self.table is not None and self.table.names() != self.feature_names:
            raise InputError("table: its inputs must be those that feature_names lists")

    def _scalings(self) -> dict[str, NDArray[Any]]:
        """Return shifts and scales of inputs and targets; the latter are for regression only."""
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
        """The properties of the training inputs, to which other inputs are compared."""
        width = self.network.widths[0]
        return Inputs(width, self.feature_names, self.input_kind, self.image_shape)

    def outputs(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Compute the network's outputs (n, k) for raw inputs X (n, d).

        Parameters
        ----------
        X : (n, d) array or data frame
            It may also be images, (n, ...), of the shape in training, or a sparse matrix of SciPy.
        n_threads : int, optional
            Default: as many as BLAS would use.
        names : sequence of str, optional
            Names of the columns of an array; a data frame has its own.

        Raises
        ------
        InputError
            X differs from the training data in number, names or order of columns, in the kind of
            numbers, or in the shape of images. The message names the first difference.
        """
        own = names_of(X)
        if self.table is not None and own is not None and own != self.feature_names:
            X, names = self.table(columns_of(X)), self.feature_names
        X = self.inputs.take(X, names)
        dtype = self.network.W[0].dtype
        return scaled_outputs(self.network, self.preprocessing, X, dtype, n_threads)

    def predict(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[Any]:
        """Return the class of the largest output for each row of X (n, d), typed as `classes`.

        With several labels return 1 for each output above 0, that is a probability above 1/2, and
        0 for the others: (n, k) integers.

        For regression return ``outputs * target_scale + target_shift``, float64, (n,) for one
        target, else (n, k). The Poisson loss has ``exp(outputs)`` in place of outputs.
        Parameters and errors are as for `outputs`.
        """
        predicted = self.decoded(self.outputs(X, n_threads, names))
        one = self.classes is None and predicted.shape[1] == 1
        return predicted[:, 0] if one else predicted

    def decoded(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return what `predict` makes of outputs (n, k); of one target it is (n, 1)."""
        if self.multi_label:
            return (outputs > 0).astype(np.int64)
        if self.classes is not None:
            return self.classes[np.argmax(outputs, axis=1)]
        targets = means(self.loss, outputs.astype(np.float64))
        if self.target_scale is not None:
            targets *= self.target_scale
        if self.target_shift is not None:
            targets += self.target_shift
        return targets

    def predict_proba(
        self, X: Any, n_threads: int | None = None, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities (n, k) of the classes for X (n, d), float64; each row adds up to 1.

        With several labels each column has the probabilities of one of them. Parameters are
        as for `outputs`.

        Raises
        ------
        InputError
            As for `outputs`; or the model is one for regression, its loss is unknown, or the loss
            has no probabilities, see `fastbcd.models.probabilities`.
        """
        # scipy.special is slow to import.
        from fastbcd.models.probabilities import label_probabilities, probabilities

        function = label_probabilities if self.multi_label else probabilities
        return function(self.loss_of_probabilities(), self.outputs(X, n_threads, names))

    def loss_of_probabilities(self) -> str:
        """Return the name of the loss; `InputError` if it is unknown or there are no classes."""
        if self.classes is None:
            raise InputError("probabilities: this model predicts numbers, not classes")
        if self.loss is None:
            raise InputError(
                "probabilities: this model does not say which loss it was trained with (files "
                "before format 3 do not); train again, or set model.loss"
            )
        return self.loss

    def save(self, path: Path | str) -> None:
        """Write a safetensors file to `path`: plain arrays, JSON metadata and a checksum.

        The same model gives the same bytes. The file is never left incomplete.

        Raises
        ------
        InputError
            The model has a part that such a file cannot hold, such as an activation that is not
            one of `ACTIVATIONS`.
        """
        write_model(user_path(path), self)

    @classmethod
    def load(cls, path: Path | str) -> Model:
        """Read a model that `save` wrote to `path`, without running any code from the file.

        Raises
        ------
        InputError
            There is no such file, any of its bytes is damaged, or it is not a fastbcd model.
        """
        path = user_path(path)
        arguments = read_model(path)
        try:
            return cls(**arguments)
        except InputError as error:
            raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None

    def arrange(self, X: NDArray[Any], names: list[str] | None, source: str) -> NDArray[Any]:
        """Bring the columns of X, called `names`, into the order of training.

        A missing column is an `InputError`. Columns that training did not have are left out, and
        logged. `source` is the origin of X in messages.
        """
        if self.feature_names is None or names is None or names == self.feature_names:
            return X
        more = [name for name in names if name not in self.feature_names]
        if more and len(names) > len(self.feature_names):
            shown = ", ".join(map(repr, more))
            logger.warning(
                "%s: columns that the model was not trained on are left out: %s", source, shown
            )
        if any(name not in names for name in self.feature_names):
            check_same_names(self.feature_names, names, source)
        return X[:, [names.index(name) for name in self.feature_names]]
