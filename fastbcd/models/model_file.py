"""The file of a model, format 4 to 7: its arrays and metadata, and how older formats differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.data.preprocessing import Preprocessing
from fastbcd.data.tables.encoding import TableEncoding
from fastbcd.errors import InputError
from fastbcd.files.checksummed import read_checksummed, write_checksummed
from fastbcd.kernels import ACTIVATIONS
from fastbcd.layers import Dense
from fastbcd.layers.specification import layer_of, settings_of
from fastbcd.models.network import Network
from fastbcd.support.parameters import parse
from fastbcd.support.stored import check_state_dict
from fastbcd.support.version import __version__

# Format 2 knows inputs that are cut at a limit. Format 3 has a checksum, the loss, the type of
# the classes, and regression. Format 4 knows the kind of inputs and the shape of images. Format 5
# names the types of layers, format 6 has the encoding of a table, and format 7 says that samples
# have several labels. A model is written in the first format that has what it needs, because
# earlier versions read this one.
FORMAT, WITH_TABLE, WITH_LAYERS, ALL_DENSE, WITHOUT_CHECKSUM = 7, 6, 5, 4, (1, 2)
# Keys of the metadata, by the first format that has them, and those that a file may lack.
KEYS = {
    1: ("format", "widths", "activations", "residual", "classes"),
    3: ("fastbcd", "feature_names", "loss"),
    4: ("input_kind", "image_shape"),
    5: ("layers",),
    6: ("table",),
    7: ("multi_label",),
}
MAY_LACK = ("checksum", "feature_names", "limit")
# Arrays that only regression has.
TARGETS = ("target_shift", "target_scale")
# Kinds of classes: bool, integers, floats, texts, and Python's own texts.
KINDS = "biufUO"


def write_model(path: Path, model: Any) -> None:
    """Write a `Model`, under keys that are independent of the names of its attributes.

    Raises
    ------
    InputError
        The model has a part that would not be the same after reading.
    """
    network, preprocessing = model.network, model.preprocessing
    for activation in network.activations:
        if activation.name not in ACTIVATIONS or activation != parse(
            repr(activation), ACTIVATIONS, "activation"
        ):
            raise InputError(
                f"activation: {activation.name} is not one of this package's, and a model file "
                f"holds no code; those it can name: {', '.join(ACTIVATIONS)}"
            )
    targets = {"target_shift": model.target_shift, "target_scale": model.target_scale}
    tensors = {f"W{l}": W for l, W in enumerate(network.W, start=1)}
    tensors |= {"shift": preprocessing.shift, "scale": preprocessing.scale}
    tensors |= {name: array for name, array in targets.items() if array is not None}
    metadata = {
        "format": _format_of(model),
        "fastbcd": __version__,
        "widths": list(network.widths),
        "activations": [repr(activation) for activation in network.activations],
        "residual": [bool(residual) for residual in network.residual],
        "classes": _classes_as_json(model.classes),
        "feature_names": texts(model.feature_names, "feature_names"),
        "loss": model.loss,
        "input_kind": model.input_kind,
        "image_shape": model.image_shape,
    }
    if metadata["format"] >= WITH_LAYERS:
        metadata["layers"] = [settings_of(layer) for layer in network.layers]
    if metadata["format"] >= WITH_TABLE:
        metadata["table"] = None if model.table is None else model.table.state_dict()
    if metadata["format"] == FORMAT:
        metadata["multi_label"] = True
    if np.isfinite(preprocessing.limit):
        metadata["limit"] = float(preprocessing.limit)
    write_checksummed(path, tensors, metadata)


def _format_of(model: Any) -> int:
    """Return the first format that has all parts of a model."""
    if model.multi_label:
        return FORMAT
    if model.table is not None:
        return WITH_TABLE
    dense = all(isinstance(layer, Dense) for layer in model.network.layers)
    return ALL_DENSE if dense else WITH_LAYERS


def read_model(path: Path) -> dict[str, Any]:
    """Arguments of `Model` from a file; runs no code from it.

    Raises
    ------
    InputError
        No such file, damaged, or not a model of ours; names keys that are missing or unknown.
    """
    tensors, metadata = read_checksummed(path, "model", WITHOUT_CHECKSUM)
    found = metadata.get("format")
    if found not in range(1, FORMAT + 1):
        raise InputError(f"{path} has format {found}; this version reads 1 to {FORMAT}")
    try:
        return _arguments(tensors, metadata)
    except Exception as error:
        # A file that we did not write may break anything here: the file is to blame.
        raise InputError(f"{path} is not a fastbcd model, or damaged: {error}") from None


def _arguments(tensors: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> dict[str, Any]:
    _check_keys(tensors, metadata)
    old = metadata["format"] in WITHOUT_CHECKSUM
    limit, table = float(metadata.get("limit", np.inf)), metadata.get("table")
    return {
        "network": _network(tensors, metadata),
        "classes": (np.array if old else _classes_of)(metadata["classes"]),
        "preprocessing": Preprocessing(tensors["shift"], tensors["scale"], limit),
        "feature_names": texts(metadata.get("feature_names"), "feature_names"),
        "loss": metadata.get("loss"),
        "input_kind": metadata.get("input_kind"),
        "image_shape": metadata.get("image_shape"),
        "target_shift": tensors.get("target_shift"),
        "target_scale": tensors.get("target_scale"),
        "table": None if table is None else TableEncoding.from_state_dict(table),
        "multi_label": metadata.get("multi_label", False),
    }


def _check_keys(tensors: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> None:
    """`InputError` unless there are exactly the keys and arrays of the file's format."""
    found = metadata["format"]
    keys = [key for first, added in KEYS.items() if first <= found for key in added]
    lacking = [key for key in MAY_LACK if key in metadata]
    check_state_dict(metadata, dict.fromkeys([*keys, *lacking]), "metadata")
    names = [f"W{l}" for l in range(1, len(metadata["widths"]))]
    names += ["shift", "scale", *(name for name in TARGETS if name in tensors)]
    check_state_dict(tensors, dict.fromkeys(names), "arrays")


def _network(tensors: dict[str, NDArray[Any]], metadata: dict[str, Any]) -> Network:
    L, residual = len(metadata["widths"]) - 1, metadata["residual"]
    activations = [parse(text, ACTIVATIONS, "activation") for text in metadata["activations"]]
    stored = metadata.get("layers")
    layers = None if stored is None else [layer_of(settings) for settings in stored]
    network = Network([tensors[f"W{l}"] for l in range(1, L + 1)], activations, residual, layers)
    shapes = [layer.weight_shape for layer in network.layers]
    if not (
        list(network.widths) == metadata["widths"]
        and len(activations) == len(network.residual) == L
        and [W.shape for W in network.W] == shapes
        and all(np.isfinite(W).all() for W in network.W)
    ):
        raise ValueError("its arrays do not have the sizes it names, or are not finite")
    return network


def _classes_as_json(classes: NDArray[Any] | None) -> dict[str, Any] | None:
    if classes is None:
        return None
    content = {"type": classes.dtype.str, "values": classes.tolist()}
    try:
        same = bool((_classes_of(content) == classes).all())
    except (TypeError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"classes: a file holds numbers of up to 8 bytes, bools and texts, got {classes!r}"
        )
    return content


def _classes_of(content: dict[str, Any] | None) -> Any:
    if content is None:
        return None
    dtype, values = np.dtype(content["type"]), content["values"]
    plain = all(isinstance(value, str | int | float) for value in values)
    if dtype.kind not in KINDS or not plain or (dtype.kind in "iuf" and dtype.itemsize > 8):
        raise ValueError("its classes are not numbers, bools or texts")
    return np.array(values, dtype)


def texts(given: Any, name: str) -> list[str] | None:
    """`given` as a list of str, or None; `InputError` for anything else."""
    if given is None:
        return None
    if isinstance(given, str) or not all(isinstance(text, str) for text in given):
        raise InputError(f"{name} must be texts")
    return [str(text) for text in given]
