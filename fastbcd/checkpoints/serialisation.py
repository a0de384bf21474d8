"""Trees of numbers, texts and arrays, such as a `state_dict`, as JSON and named tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastbcd.errors import InputError

# In JSON an array is a table with this key; its value is the name of the tensor.
TENSOR = "array in tensor"
Tensors = dict[str, Any]
Fetch = Callable[[str, Any], Any]


def is_array(value: Any) -> bool:
    """Return whether `value` is an array, in this machine's memory or on a GPU."""
    return isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__")


def serialise(value: Any, name: str, tensors: Tensors) -> Any:
    """Return `value` for JSON; its arrays go to `tensors`, under names that begin with `name`.

    Arrays are not copied.

    Raises
    ------
    TypeError
        `value` has parts other than dictionaries, lists, arrays, numbers, texts and None.
    """
    if is_array(value):
        while name in tensors:
            name += "'"
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [serialise(part, f"{name}.{i}", tensors) for i, part in enumerate(value)]
    if not isinstance(value, dict):
        raise TypeError(f"{name}: a checkpoint cannot hold {value!r}; numbers, texts, arrays "
                        "and lists and dictionaries of them")  # fmt: skip
    if not all(isinstance(key, str) and key != TENSOR for key in value):
        raise TypeError(f"{name}: keys must be texts other than {TENSOR!r}, got {list(value)}")
    prefix = f"{name}." if name else ""
    return {key: serialise(part, f"{prefix}{key}", tensors) for key, part in value.items()}


def deserialise(stored: Any, fetch: Fetch, live: Any = None) -> Any:
    """Return the tree that `serialise` turned into `stored`.

    ``fetch(name, live)`` returns the tensor of a name. If the tree `live` has an array at the same
    place, `fetch` gets this array and fills it; otherwise it gets None.
    """
    if isinstance(stored, dict):
        if TENSOR in stored:
            return fetch(stored[TENSOR], live if is_array(live) else None)
        known = live if isinstance(live, dict) else {}
        return {key: deserialise(part, fetch, known.get(key)) for key, part in stored.items()}
    if isinstance(stored, list):
        parts = live if isinstance(live, list) else [None] * len(stored)
        if len(parts) != len(stored):
            raise InputError(f"a list of {len(stored)} is stored, {len(parts)} are needed")
        return [deserialise(part, fetch, old) for part, old in zip(stored, parts, strict=True)]
    return stored
