"""Writing files so that they are either whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def expanded(path: str | bytes | os.PathLike[str]) -> str:
    """`path`, where a leading ``~`` is the user's folder and ``~name`` that of another user.

    A path that was stored elsewhere may have letters that the locale lacks: they become UTF-8.
    """
    text = os.path.expanduser(os.fsdecode(path))
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        text = os.fsdecode(text.encode("utf-8", "surrogateescape"))
    return text


def user_path(path: str | bytes | os.PathLike[str]) -> Path:
    """`expanded` as a `Path`."""
    return Path(expanded(path))


def partial(path: Path) -> Path:
    """The folder in which `replacing` writes the file that will be `path`."""
    return path.with_name(path.name + ".partial")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` at the end of the context.

    A reader sees the old file or the new one. After an exception the old one is untouched and
    nothing else is left. The name lies in a folder of its own, `partial`, which also takes the
    files that a library may put beside it. If a killed process leaves it, the next call removes it.
    """
    folder = partial(path)
    remove_partial(path)
    try:
        folder.mkdir()
        temporary = folder / path.name
        yield temporary
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        remove_partial(path)


def remove_partial(path: Path) -> None:
    """Remove the files that a killed process left when it wrote `path`."""
    shutil.rmtree(partial(path), ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make a renaming in `folder` outlast a loss of power, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """`content` as indented JSON, written whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
