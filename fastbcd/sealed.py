"""Files of arrays that know when they are damaged: safetensors with a checksum of every byte."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fastbcd.errors import InputError
from fastbcd.files import replacing

# Where the checksum stands while it is computed.
BLANK = b"0" * 64
# The header holds our JSON as a string, its quotes escaped.
KEY = rb"\"checksum\": \""
CHUNK = 2**22


def write_sealed(path: Path, tensors: Mapping[str, NDArray[Any]], metadata: dict[str, Any]) -> None:
    """Write arrays and metadata, whole or not at all; the same content gives the same bytes.

    A safetensors file that any reader of such files can open. Its metadata are one JSON text
    under ``fastbcd``, in which ``checksum`` is the SHA-256 of the whole file, that checksum's own
    64 digits counted as zeros.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to array
    metadata : dict
        What JSON can hold.

    Raises
    ------
    OSError
        The file cannot be written; what was there before is untouched.
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    ordered = json.loads(json.dumps(metadata, sort_keys=True))
    text = json.dumps({"checksum": BLANK.decode(), **ordered})  # first: that is where it is found
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            mode = os.fstat(file.fileno()).st_mode
        # One key only: with several, their order in the file would vary.
        try:
            save_file(contiguous, temporary, {"fastbcd": text})
        except SafetensorError as error:  # that is how it reports a full disk
            raise OSError(str(error)) from None
        temporary.chmod(stat.S_IMODE(mode))  # safetensors makes files that only their owner reads
        with temporary.open("r+b") as file:
            position = _position(file)
            assert position is not None
            digest = _digest(file, position)
            file.seek(position)
            file.write(digest)
            file.flush()
            os.fsync(file.fileno())


def read_sealed(
    path: Path, kind: str, unsealed_formats: tuple[int, ...] = ()
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and metadata that `write_sealed` wrote; runs no code from the file.

    Parameters
    ----------
    path : Path
    kind : str
        What the file should be, for errors: "model", "checkpoint".
    unsealed_formats : tuple of int
        Values of the metadata's ``format`` for which a file needs no checksum.

    Raises
    ------
    InputError
        No such file, not one of ours, or not the bytes that were written.
    """
    try:
        with path.open("rb") as file:
            position = _position(file)
            sealed = position is not None
            if position is not None:
                file.seek(position)
                if file.read(len(BLANK)) != _digest(file, position):
                    raise InputError(f"{path} is damaged: its checksum is wrong")
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["fastbcd"])
            if not isinstance(metadata, dict):
                raise ValueError("its metadata are no table")
            if not sealed and metadata["format"] not in unsealed_formats:
                raise InputError(f"{path} is damaged: it has no checksum")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, metadata
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # Whatever a file that we did not write can break: it is the file's fault.
        raise InputError(f"{path} is not a fastbcd {kind}, or damaged: {error}") from None


def _position(file: BinaryIO) -> int | None:
    """Where the checksum stands; None where the header has none."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise ValueError("its header is longer than the file")
    found = file.read(length).find(KEY)
    return None if found < 0 else 8 + found + len(KEY)


def _digest(file: BinaryIO, position: int) -> bytes:
    """SHA-256 of the file, in hexadecimal, the 64 bytes at `position` counted as zeros."""
    digest, place = hashlib.sha256(), 0
    file.seek(0)
    while chunk := bytearray(file.read(CHUNK)):
        start, stop = position - place, position + len(BLANK) - place
        first, last = max(start, 0), min(stop, len(chunk))
        if first < last:
            chunk[first:last] = BLANK[: last - first]
        digest.update(chunk)
        place += len(chunk)
    return digest.hexdigest().encode()
