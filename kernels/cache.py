"""The cache of compiled kernels on disk. Kernels work without it, and each file is checked.

A kernel has one file for each signature. The name holds a digest of the source of all kernels and
one of the signature; the content begins with a digest of the rest. So a file that is truncated,
damaged, or of another program, version or signature is not used: the kernel is compiled again and
the file replaced. Processes that write at the same time write different files, or the same
content. Where no file can be read or written, each process compiles and warns once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import re
import sys
import uuid
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numba
from numba import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps

from fastbcd.kernels.streams import is_terminal, logger, write_line

# The first bytes of each file. Numba's own files begin otherwise.
MAGIC = b"fastbcd kernel 1\n"
# Settings of Numba that change machine code but are no part of Numba's own keys.
SETTINGS = ("BOUNDSCHECK", "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "DEBUGINFO_DEFAULT")
DIGEST = hashlib.sha256().digest_size


class KernelCache(FunctionCache):
    """A dispatcher's cache of the machine code of `function`; its methods never raise.

    The constructor does not touch the disk; the first call of the function does.
    """

    def __init__(self, function: Any) -> None:
        self._py_func, self._name = function, repr(function)
        self.enable()

    @cached_property
    def _files(self) -> _Files | None:
        """The files of this function; None where there is no folder for them."""
        try:
            return _Files(self._py_func)
        except Exception as error:  # Numba raises RuntimeError, its locators raise others
            _warn_once(f"there is no place for them ({_words(error)})")
            return None

    @property
    def cache_path(self) -> str | None:
        """The folder of this function's files; None where there is none."""
        return None if self._files is None else str(self._files.folder)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function of the signature; None where it must be compiled."""
        loaded = None
        if self._enabled and self._files is not None:
            try:
                target_context.refresh()
                key = self._index_key(sig, target_context.codegen())
                loaded = self._files.load(key, target_context)
            except Exception as error:  # the kernel is compiled from its source instead
                _warn_once(f"a file of theirs cannot be used ({_words(error)})")
        if loaded is None:
            _announce_once()
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the compiled function `data` of the signature to a file, if possible."""
        if not self._enabled or self._files is None:
            return
        # Numba's own check of this would warn for each function.
        if data.library.has_dynamic_globals or any(not loop.can_cache for loop in data.lifted):
            _warn_once("their code holds addresses of this process")
            return
        try:
            self._files.save(self._index_key(sig, data.codegen), data)
        except Exception as error:
            _warn_once(f"they cannot be written ({_words(error)})")

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return *super()._index_key(sig, codegen), tuple(getattr(config, s, None) for s in SETTINGS)

    def flush(self) -> None:
        """Remove all files of this function."""
        if self._files is not None:
            self._files.remove(lambda name: True)


class _Files:
    """The files of one function, in the folder that Numba chooses."""

    def __init__(self, function: Any) -> None:
        self.impl = CompileResultCacheImpl(function)
        self.folder = Path(self.impl.locator.get_cache_path())
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        self._prefix = f"{re.sub('[^A-Za-z0-9_.]', '_', name)}.{sys.implementation.cache_tag}."
        source = (numba.__version__, self.impl.locator.get_source_stamp(), _source_of_kernels())
        self._stamp = hashlib.sha256(repr(source).encode()).hexdigest()[:16]

    def load(self, key: Any, target_context: Any) -> Any:
        """The compiled function, or None where there is no file; ValueError for a damaged one."""
        path = self._path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        start = len(MAGIC) + DIGEST
        digest, payload = content[len(MAGIC) : start], content[start:]
        if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
            raise ValueError(f"{path} is damaged")
        # Different types may have the same name, so the file holds the key itself, too.
        known, reduced = pickle.loads(payload)
        return self.impl.rebuild(target_context, reduced) if known == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write the file, complete or not at all; remove files of former sources."""
        payload = dumps((key, self.impl.reduce(data)))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.tmp")
        try:
            part.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        self.remove(lambda name: not name.startswith(self._stamp))

    def remove(self, chosen: Callable[[str], bool]) -> None:
        """Remove this function's files where `chosen` is true of the name without its prefix."""
        with contextlib.suppress(OSError):  # another process may remove them, too
            for path in self.folder.iterdir():
                own = path.name.startswith(self._prefix) and path.suffix == ".nbc"
                if own and chosen(path.name.removeprefix(self._prefix)):
                    path.unlink(missing_ok=True)

    def _path(self, key: Any) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
        return self.folder / f"{self._prefix}{self._stamp}.{digest}.nbc"


@cache
def _source_of_kernels() -> str:
    """A digest of all source files here, as a kernel's code contains helpers of other files.

    In an archive there are no files; Numba's own stamp then covers the whole archive.
    """
    sha = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


_said: set[str] = set()


def _first(what: str) -> bool:
    """True at the first call for `what` in this process; Numba's lock serialises the calls."""
    new = what not in _said
    _said.add(what)
    return new


def _warn_once(reason: str) -> None:
    # Logged, not warned: where warnings are errors, a missing cache would end the program.
    if _first("warning"):
        logger.warning(
            "compiled kernels are not taken from the cache on disk: %s. This process compiles "
            "them, which takes seconds; NUMBA_CACHE_DIR names another folder for the cache.",
            reason,
        )


def _announce_once() -> None:
    """Say at a terminal that kernels are compiled, unless the logger's level is above INFO."""
    if logger.logger.level <= logging.INFO and is_terminal(sys.stderr) and _first("compilation"):
        write_line("fastbcd: compiling; the first call with new settings takes some seconds")


def cache_folder() -> str | None:
    """The folder of the compiled kernels of this package; None where there is none."""
    return KernelCache(cache_folder).cache_path
