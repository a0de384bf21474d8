"""Objects as JSON and arrays: what of a state, and of what callbacks remember, a file holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# Of a state or a solver: derived from the rest, or of the machine, or (data) hashed.
LEFT_OUT = {
    *("X", "Y", "first", "cache", "descent_log", "clock", "settings", "device", "problem"),
}
# The key under which stands which tensor a value is.
TENSOR = "array in tensor"
Tensors = dict[str, Any]
Fetch = Callable[[str, Any], Any]


def is_array(value: Any) -> bool:
    """Whether `value` is an array, of this machine's memory or of a graphics card's."""
    return isinstance(value, np.ndarray) or hasattr(value, "__cuda_array_interface__")


def pack(value: Any, name: str, tensors: Tensors) -> Any:
    """`value` as JSON can hold it; its arrays go to `tensors`, under names that begin with `name`.

    Handles lists, dictionaries, objects of plain attributes, arrays, random generators, numbers.
    Arrays are not copied.
    """
    if is_array(value):
        while name in tensors:
            name += "'"
        tensors[name] = value
        return {TENSOR: name}
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [pack(part, f"{name}.{i}", tensors) for i, part in enumerate(value)]
    parts = value if isinstance(value, dict) else _attributes(value)
    if not all(isinstance(key, str) and key != TENSOR for key in parts):
        raise TypeError(f"{name}: keys must be texts other than {TENSOR!r}, got {list(parts)}")
    prefix = f"{name}." if name else ""
    return {key: pack(part, f"{prefix}{key}", tensors) for key, part in parts.items()}


def _attributes(value: Any) -> dict[str, Any]:
    """What continues a run of a state, or of an object within it; not the data themselves."""
    parts = {key: part for key, part in vars(value).items() if key not in LEFT_OUT}
    if "V" in parts:
        parts["V"] = [None, *parts["V"][1:]]  # V_0 is X
        del parts["sample_weight"]  # data, too
    return parts


def unpack(old: Any, packed: Any, fetch: Fetch) -> Any:
    """What `pack` packed: in place where `old` has such an object, else new.

    ``fetch(name, old)`` gives the array of that name, in place where `old` is one.
    """
    if isinstance(packed, list):
        olds = old if isinstance(old, list) else [None] * len(packed)
        return [unpack(o, part, fetch) for o, part in zip(olds, packed, strict=True)]
    if not isinstance(packed, dict):
        # V_0 is X: the data are not in the checkpoint.
        return old if packed is None and is_array(old) else packed
    if TENSOR in packed:
        return fetch(packed[TENSOR], old)
    if isinstance(old, np.random.Generator):
        old.bit_generator.state = packed
        return old
    if old is None:
        return {key: unpack(None, part, fetch) for key, part in packed.items()}
    for key, part in packed.items():
        setattr(old, key, unpack(getattr(old, key), part, fetch))
    return old
