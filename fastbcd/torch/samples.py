"""Samples that users of PyTorch have, as the arrays that a solver takes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fastbcd.data.labels import one_hot
from fastbcd.data.validation import as_numbers
from fastbcd.errors import InputError
from fastbcd.export.piece import Array
from fastbcd.export.support import library
from fastbcd.kernels import LOSSES, Loss
from fastbcd.support.parameters import parse
from fastbcd.torch.chain import Chain


def arrays(X: Any, y: Any) -> tuple[Array, Array]:
    """Return inputs (n, ...) and targets (n,) or (n, k) as arrays; X alone is a loader of both.

    Tensors and arrays are not copied. Batches of a loader are read once and joined.
    """
    if y is None:
        X, y = _of_loader(X)
    inputs, targets = as_array(X, "X"), as_array(y, "y")
    if inputs.ndim < 2 or 0 in inputs.shape:
        raise InputError(f"X must have samples of at least one number, got shape {inputs.shape}")
    if targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise InputError(
            f"y must be (n,) or (n, k) for the {len(inputs)} samples of X, got shape "
            f"{targets.shape}"
        )
    return inputs, targets


def as_array(given: Any, name: str) -> Array:
    """Return a tensor or an array as numbers of NumPy, in the same memory."""
    torch = library("torch")
    if isinstance(given, np.memmap):
        return given  # the solver reads it a batch at a time, and checks it then
    if not isinstance(given, torch.Tensor):
        return as_numbers(given, name)
    if given.device.type != "cpu":
        raise InputError(
            f"{name} lies on {given.device}; bring it to the processor by {name}.cpu()"
        )
    if given.layout != torch.strided:
        raise InputError(f"{name} is sparse; make it dense by {name}.to_dense()")
    try:
        return as_numbers(given.detach().numpy(), name)
    except TypeError:  # bfloat16, for one
        raise InputError(f"{name} holds {given.dtype}; convert it by {name}.float()") from None


def _of_loader(loader: Any) -> tuple[Array, Array]:
    """Return all pairs (x, y) of a loader, joined."""
    torch = library("torch")
    if isinstance(loader, torch.utils.data.Dataset):
        raise InputError(
            f"X is a {_called(loader)}; give a DataLoader of it, or its tensors as X and y"
        )
    if isinstance(loader, torch.Tensor | np.ndarray) or not isinstance(loader, Iterable):
        raise InputError(f"y: give targets for X, a {_called(loader)}; or a DataLoader as X")
    batches: tuple[list[Array], list[Array]] = ([], [])
    for k, batch in enumerate(loader):
        if not (isinstance(batch, list | tuple) and len(batch) == 2):
            shown = f"a {_called(batch)}"
            if isinstance(batch, list | tuple):
                shown = f"{len(batch)} things"
            raise InputError(f"X: batch {k} of the loader must be a pair (x, y), got {shown}")
        for part, array, name in zip(batches, batch, "xy", strict=True):
            # A loader may fill the same memory again and again.
            part.append(np.array(as_array(array, f"{name} of batch {k}")))
            if part[-1].ndim == 0 or part[-1].shape[1:] != part[0].shape[1:]:
                raise InputError(
                    f"X: {name} of batch {k} of the loader has shape {part[-1].shape}, but that of "
                    f"batch 0 has {part[0].shape}"
                )
    if not batches[0]:
        raise InputError("X: the loader has no batch")
    X, y = (np.concatenate(part) for part in batches)
    return X, y


def _called(thing: Any) -> str:
    return type(thing).__name__


def loss_for(loss: Any, y: Array) -> Loss:
    """Return the loss: cross-entropy for integers (n,), squared for other numbers, or `loss`."""
    if loss is None:
        loss = "cross_entropy" if y.ndim == 1 and y.dtype.kind in "iub" else "squared"
    if not isinstance(loss, Loss):
        loss = parse(loss, LOSSES, "loss")
    return loss


def inputs_of(X: Array, chain: Chain) -> Array:
    """Return the rows of a network's inputs: images with their channels last, where it has them.

    This is a copy unless the images lie in memory like that, or have one channel.
    """
    if chain.channels_last:
        X = X.transpose(0, 2, 3, 1)
    return X.reshape(len(X), -1)


def targets_of(y: Array, k: int, chosen: bool) -> Array:
    """Return targets (n, k): one-hot rows for integers (n,), else numbers.

    With one output integers are numbers, if the loss was `chosen`.
    """
    is_labels = y.ndim == 1 and y.dtype.kind in "iub"
    if is_labels and k > 1:
        labels = y.astype(np.intp)
        if labels.min() < 0 or labels.max() >= k:
            raise InputError(
                f"y must hold classes from 0 to {k - 1}, as the last layer has {k} outputs, got "
                f"{labels.min()} to {labels.max()}"
            )
        return one_hot(labels, k)
    if is_labels and not chosen:
        raise InputError(
            "y holds integers, which are classes, but the last layer has one output; give it an "
            "output for each class, or y as floats for numbers, or a loss"
        )
    rows = y[:, None] if y.ndim == 1 else y
    if rows.shape[1] != k:
        raise InputError(
            f"y is {y.dtype} of shape {y.shape}, but the last layer has {k} outputs; give (n, {k}) "
            "numbers, or classes as integers (n,)"
        )
    if y.ndim == 2 and y.dtype.kind in "iub" and not chosen:
        raise InputError(
            "y holds integers in columns; give classes as a vector, or a loss, such as "
            "'logistic_ovr' for several labels of 0 and 1"
        )
    return rows
