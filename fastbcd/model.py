"""A trained classifier on disk and in use: network, classes, preprocessing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.errors import InputError
from fastbcd.files import write_atomically
from fastbcd.kernels import ACTIVATIONS
from fastbcd.network import Network
from fastbcd.specification import parse
from fastbcd.validation import check_matrix

# Format 2 knows inputs that are cut at a limit.
FORMAT, READS = 2, (1, 2)


@dataclass
class Model:
    """Network, classes and preprocessing: all that prediction needs.

    Parameters
    ----------
    network : Network
        d inputs, k outputs.
    classes : (k,) array
        Sorted labels.
    preprocessing : Preprocessing
        Of the inputs.
    feature_names : list of str, optional
        Of the d inputs, in the order of training.
    """

    network: Network
    classes: NDArray[Any]
    preprocessing: Preprocessing
    feature_names: list[str] | None = None

    def outputs(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Network outputs (n, k) for raw inputs X (n, d); `InputError` where X does not fit."""
        X = check_matrix(X, "X")
        width = self.network.widths[0]
        if X.shape[1] != width:
            raise InputError(f"X has {X.shape[1]} features, but the model was trained on {width}")
        return self.network.forward(self.preprocessing(X, self.network.W[0].dtype), n_threads)

    def predict(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Class label of each row of X: that of the largest output."""
        return self.classes[np.argmax(self.outputs(X, n_threads), axis=1)]

    def save(self, path: Path) -> None:
        """Write a safetensors file to `path`: plain arrays, and one JSON text of metadata.

        The same model gives the same bytes.
        """
        tensors = {f"W{l}": W for l, W in enumerate(self.network.W, start=1)}
        tensors |= {"shift": self.preprocessing.shift, "scale": self.preprocessing.scale}
        metadata = {
            "format": FORMAT,
            "widths": list(self.network.widths),
            "activations": [repr(activation) for activation in self.network.activations],
            "residual": list(self.network.residual),
            "classes": self.classes.tolist(),
            "feature_names": self.feature_names,
        }
        if np.isfinite(self.preprocessing.limit):
            metadata["limit"] = self.preprocessing.limit
        # One key only: with several, their order in the file would vary.
        content = save(tensors, {"fastbcd": json.dumps(metadata, sort_keys=True)})
        write_atomically(path, content)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `save` wrote to `path`; runs no code from the file.

        Raises
        ------
        InputError
            No such file, damaged, or not a model of ours.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = json.loads((file.metadata() or {})["fastbcd"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["format"] not in READS:
                raise InputError(
                    f"{path} has format {metadata['format']}; this version reads 1 and 2"
                )
            return cls._of(metadata, tensors)
        except FileNotFoundError:
            raise InputError(f"{path} cannot be read; a finished run has one") from None
        except InputError:
            raise
        except Exception as error:
            # Whatever a file that we did not write can break: it is the file's fault.
            raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None

    @classmethod
    def _of(cls, metadata: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Model:
        L = len(metadata["widths"]) - 1
        activations = [parse(text, ACTIVATIONS, "activation") for text in metadata["activations"]]
        weights = [tensors[f"W{l}"] for l in range(1, L + 1)]
        network = Network(weights, activations, metadata["residual"])
        classes = np.array(metadata["classes"])
        limit = float(metadata.get("limit", np.inf))
        preprocessing = Preprocessing(tensors["shift"], tensors["scale"], limit)
        d_in, d_out = network.widths[0], network.widths[-1]
        fits = (
            list(network.widths) == metadata["widths"]
            and len(activations) == len(network.residual) == L
            and classes.shape == (d_out,)
            and {preprocessing.shift.shape, preprocessing.scale.shape} <= {(1,), (d_in,)}
            and limit > 0.0
            and all(np.isfinite(tensor).all() for tensor in tensors.values())
        )
        if not fits:
            raise ValueError("its arrays do not have the sizes it names, or are not finite")
        return cls(network, classes, preprocessing, metadata.get("feature_names"))

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
