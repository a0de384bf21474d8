"""The header of a safetensors file: which tensors it holds, of which types and where.

.. code-block:: text

    8 bytes: length of the header, little-endian;  the header: JSON;  the tensors, one after another

Source: the format's description at https://github.com/huggingface/safetensors.

The package ``safetensors`` reads and writes such files, too; tests compare our bytes with its. It
cannot replace this module:

- It writes a file in one call, for which all arrays must be whole, contiguous and in the machine's
  memory. Ours may be larger than memory or on a graphics card: we write blocks of rows, and compute
  the checksum in the same pass. There is no call that makes the header alone.
- It opens a file by its name and, before version 0.8, maps it to memory. When a mapped file becomes
  shorter, the next read ends the process by a signal; ours raises an error that names the file. And
  the file of that name may have been replaced since we verified the checksum of the one that we
  have open.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# In the order in which files have them: that of alignment, so that each tensor is aligned.
CODES = {
    **{"uint64": "U64", "int64": "I64", "float64": "F64", "complex64": "C64"},
    **{"float32": "F32", "uint32": "U32", "int32": "I32"},
    **{"float16": "F16", "uint16": "U16", "int16": "I16"},
    **{"int8": "I8", "uint8": "U8", "bool": "BOOL"},
}
TYPES = {code: np.dtype(name).newbyteorder("<") for name, code in CODES.items()}
ALIGNMENT = 8
METADATA = "__metadata__"


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: its type and shape, and at which byte of the file it starts."""

    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.dtype.itemsize * math.prod(self.shape)


def compose(tensors: Mapping[str, Any], text: str) -> tuple[list[str], bytes]:
    """Names in the order in which their bytes follow, and all bytes before these.

    Parameters
    ----------
    tensors : mapping of str to array
        Anything with ``dtype`` and ``shape``.
    text : str
        Metadata, under the key ``fastbcd``: one key only, as the order of several could vary.

    Raises
    ------
    TypeError
        A tensor of a type that the format does not know.
    """
    codes = list(CODES)
    for name, array in tensors.items():
        if array.dtype.name not in CODES:
            raise TypeError(f"{name}: a file cannot hold dtype {array.dtype}; it can {codes}")
    order = sorted(tensors, key=lambda name: (codes.index(tensors[name].dtype.name), name))
    entries: dict[str, Any] = {METADATA: {"fastbcd": text}}
    place = 0
    for name in order:
        dtype, shape = tensors[name].dtype, tensors[name].shape
        end = place + dtype.itemsize * math.prod(shape)
        entries[name] = {
            "dtype": CODES[dtype.name],
            "shape": list(shape),
            "data_offsets": [place, end],
        }
        place = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % ALIGNMENT)
    return order, len(header).to_bytes(8, "little") + header


def parse(header: bytes, file_size: int) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file of `file_size` bytes, from the JSON that is its header.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is no header of such a file.
    """
    entries = json.loads(header)
    metadata = entries.pop(METADATA, {})
    first = 8 + len(header)
    tensors = {}
    for name, entry in entries.items():
        start, end = entry["data_offsets"]
        tensor = Tensor(TYPES[entry["dtype"]], tuple(entry["shape"]), first + start)
        sound = all(type(d) is int and d >= 0 for d in (*tensor.shape, start))
        if not sound or tensor.size != end - start or first + end > file_size:
            raise ValueError(f"its tensor {name} is not where its header says")
        tensors[name] = tensor
    return metadata, tensors
