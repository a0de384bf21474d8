"""Shared by both exports: the library, the type of the inputs, checks of the model."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbcd.errors import InputError
from fastbcd.export.operators import check_layers
from fastbcd.kernels import ACTIVATIONS
from fastbcd.models.model import Model
from fastbcd.models.network import Network
from fastbcd.models.probabilities import LINKS
from fastbcd.support.parameters import check_dtype

# At so many deviations from 0 float32 loses five of its 24 bits, which leaves 2e-6 of a deviation.
FAR = 32.0
SMALL, LARGE = 1e-30, 1e30
FLOATS = ("float16", "float32", "float64")


def library(name: str) -> Any:
    """The module `name`; if it is not installed, an `InputError` that names the extra."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise InputError(
            f"{name} is not installed: pip install 'fastbcd[{name}]', or pip install {name}"
        ) from None


def input_dtype(model: Model, dtype: str | None) -> np.dtype:
    """`dtype`, or by default the smallest type in which inputs and targets keep their digits.

    This is float64 for a network in float64. It is also float64 if a feature or a target lies more
    than 32 deviations from 0: float32 would round away the variation of a date in seconds, for
    example. Otherwise it is float32.
    """
    if dtype is not None:
        return check_dtype(dtype)
    shift, scale = model.preprocessing.shift, np.abs(model.preprocessing.scale)
    fits = bool(np.all(np.abs(shift) * scale <= FAR))
    fits &= bool(np.all((scale == 0) | ((scale >= SMALL) & (scale <= LARGE))))
    if model.target_shift is not None:
        fits &= bool(np.all(np.abs(model.target_shift) <= FAR * np.abs(target_scale(model))))
    return model.network.W[0].dtype if fits else np.dtype(np.float64)


def target_scale(model: Model) -> Any:
    """The scale of the targets, (k,) float64."""
    k = model.network.widths[-1]
    return np.ones(k) if model.target_scale is None else model.target_scale


def target_shift(model: Model) -> Any:
    """The shift of the targets, (k,) float64."""
    k = model.network.widths[-1]
    return np.zeros(k) if model.target_shift is None else model.target_shift


def check_network(network: Network) -> None:
    """`InputError` for a layer or an activation of a user, for which no library has code."""
    check_layers(network)
    for activation in network.activations:
        if activation.name not in ACTIVATIONS:
            raise InputError(
                f"activation: {activation.name} cannot be exported; those that can: "
                f"{', '.join(ACTIVATIONS)}"
            )


def check_classes(model: Model) -> None:
    """Raise `InputError` for classes that another library cannot store unchanged, such as dates."""
    if model.classes is None:
        return
    finite = model.classes.dtype.kind != "f" or bool(np.isfinite(model.classes).all())
    texts = model.classes.dtype.kind == "O" and all(
        isinstance(label, str) for label in model.classes.tolist()
    )
    known = model.classes.dtype.kind in "biuU" or model.classes.dtype in FLOATS
    if not finite or not (texts or known):
        raise InputError(
            f"classes: an export holds finite numbers, bools and texts, got {model.classes!r}"
        )


def cast(array: NDArray[Any], dtype: np.dtype) -> NDArray[Any]:
    """A copy in `dtype`; `InputError` if a number is too large for it."""
    with np.errstate(over="ignore"):
        copy = np.array(array, dtype, order="C")
    if not np.isfinite(copy).all():
        raise InputError(f"dtype: the model has numbers beyond {dtype}; use float64")
    return copy


def has_probabilities(model: Model) -> bool:
    """Whether `Model.predict_proba` gives probabilities."""
    if model.classes is None or model.loss is None:
        return False
    link = LINKS.get(model.loss.partition(":")[0])
    return link is not None and not (model.multi_label and link.slope is None)
