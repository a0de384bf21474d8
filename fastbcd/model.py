"""A trained classifier on disk and in use: network, classes, preprocessing."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.errors import InputError
from fastbcd.files import write_atomically
from fastbcd.kernels import ACTIVATIONS
from fastbcd.network import Network
from fastbcd.specification import parse
from fastbcd.validation import check_matrix

FORMAT = 1


@dataclass
class Model:
    """Network, class labels (sorted) and preprocessing: all that prediction needs."""

    network: Network
    classes: NDArray[Any]
    preprocessing: Preprocessing

    def outputs(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Network outputs (n, k) for raw inputs X (n, d)."""
        X = check_matrix(X, "X")
        width = self.network.widths[0]
        if X.shape[1] != width:
            raise InputError(f"X has {X.shape[1]} features, but the model was trained on {width}")
        return self.network.forward(self.preprocessing(X, self.network.W[0].dtype), n_threads)

    def predict(self, X: Any, n_threads: int | None = None) -> NDArray[Any]:
        """Class label of each row of X: that of the largest output."""
        return self.classes[np.argmax(self.outputs(X, n_threads), axis=1)]

    def save(self, path: Path) -> None:
        """Write a safetensors file: plain arrays, and one JSON text of metadata.

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
        }
        # One key only: with several, their order in the file would vary.
        content = save(tensors, {"fastbcd": json.dumps(metadata, sort_keys=True)})
        write_atomically(path, content)

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `save` wrote; runs no code from the file.

        Raises
        ------
        InputError
            No such file, damaged, or not a model of ours.
        """
        if not path.is_file():
            raise InputError(f"{path} does not exist; a finished run has one")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = json.loads((file.metadata() or {})["fastbcd"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["format"] != FORMAT:
                raise InputError(
                    f"{path} has format {metadata['format']}; this version reads {FORMAT}"
                )
            network = Network(
                [tensors[f"W{l}"] for l in range(1, len(metadata["widths"]))],
                [parse(text, ACTIVATIONS, "activation") for text in metadata["activations"]],
                metadata["residual"],
            )
            if list(network.widths) != metadata["widths"]:
                raise InputError(f"{path} is damaged: its weights do not have the widths it names")
            preprocessing = Preprocessing(tensors["shift"], tensors["scale"])
            return cls(network, np.array(metadata["classes"]), preprocessing)
        except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, struct.error) as error:
            raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None
