"""The BLAS and LAPACK that kernels call, with one thread a call.

The OpenBLAS that SciPy ships has one number of threads for the whole process, which any thread may
change at any time. So kernels call their own instance of that library: the same file is loaded
once more under a private name and set to one thread. It computes the same bits, it has no
threads that a fork could wait for, and it is independent of the limits of the process.

Where that is impossible (another BLAS, another system than Linux, no executable memory, or
``FASTBCD_BLAS=shared``) kernels call SciPy's own functions, and `fastbcd.devices.threads` limits
the process while a solver works. `description` says which of the two is in use, and why.
"""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Any

import scipy
from numba.extending import get_cython_function_address

_BLAS = ("sgemm", "dgemm", "sgemv", "dgemv", "ssyrk", "dsyrk", "dtrsm")
_LAPACK = ("dpotrf", "dpotrs", "dpocon", "ssyevd", "dsyevd", "dgeqrf", "dorgqr", "dgesdd")
ROUTINES = (*_BLAS, *_LAPACK)
_PTHREADS = 1  # the value of `openblas_get_parallel` for POSIX threads


class _UnavailableError(Exception):
    """There is no instance of our own; the message has the reason."""


class _Symbol(ctypes.Structure):
    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def openblas_function(library: ctypes.CDLL, name: str) -> Any:
    """OpenBLAS's ``openblas_<name>`` with any prefix and suffix; None where it is missing."""
    for prefix in ("scipy_", ""):
        for suffix in ("", "64_", "_64"):
            function = getattr(library, f"{prefix}openblas_{name}{suffix}", None)
            if function is not None:
                return function
    return None


def _address_of(library: ctypes.CDLL, name: str) -> int:
    """Address of Fortran routine `name`."""
    for symbol in (f"scipy_{name}_", f"{name}_"):
        function = getattr(library, symbol, None)
        if function is not None:
            return int(ctypes.cast(function, ctypes.c_void_p).value or 0)
    raise _UnavailableError(f"SciPy's BLAS has no {name}")


def _whereabouts(address: int) -> _Symbol:
    """File and base of the library that holds `address`."""
    found = _Symbol()
    ask = getattr(ctypes.CDLL(None), "dladdr", None)
    if ask is None or not ask(ctypes.c_void_p(address), ctypes.byref(found)):
        raise _UnavailableError("the file of SciPy's BLAS cannot be told")
    return found


def _of_scipy() -> _Symbol:
    """File and base of the BLAS that SciPy calls."""
    # Importing this module would import all of scipy.linalg, a quarter of the time that the import
    # of this package takes. Its file brings the same BLAS into the process.
    found = PathFinder.find_spec("cython_blas", [os.path.join(p, "linalg") for p in scipy.__path__])
    if found is None or found.origin is None:
        raise _UnavailableError("SciPy's module scipy.linalg.cython_blas has no file")
    return _whereabouts(_address_of(ctypes.CDLL(found.origin), "dgemm"))


def scipy_openblas() -> str | None:
    """The file of SciPy's OpenBLAS with POSIX threads; None where SciPy has another BLAS."""
    try:
        file = _of_scipy().file
    except (_UnavailableError, OSError):
        return None
    assert file is not None
    parallel = openblas_function(ctypes.CDLL(os.fsdecode(file)), "get_parallel")
    return os.fsdecode(file) if parallel is not None and parallel() == _PTHREADS else None


def _copy_of(path: str) -> int:
    """Copy a file to a nameless one, in memory if possible, else on disk; return its descriptor."""
    try:
        copy = os.memfd_create("fastbcd-blas", os.MFD_CLOEXEC)
    except OSError:
        with tempfile.TemporaryFile() as file:
            copy = os.dup(file.fileno())
    try:
        with open(path, "rb") as source:
            size, done = os.fstat(source.fileno()).st_size, 0
            while done < size:
                sent = os.sendfile(copy, source.fileno(), done, size - done)
                if sent == 0:
                    raise OSError("the file of SciPy's BLAS became shorter")
                done += sent
    except BaseException:
        os.close(copy)
        raise
    return copy


def _load_copy(path: str) -> ctypes.CDLL:
    """Load another instance of a library that is loaded already."""
    copy = _copy_of(path)
    mode = os.RTLD_NOW | os.RTLD_LOCAL
    if any(hasattr(ctypes.CDLL(None), name) for name in ("blas_cpu_number", "dgemm_")):
        # Some BLAS is visible to all libraries: without this flag the copy would call that one.
        mode |= os.RTLD_DEEPBIND
    try:
        # The loader finds libraries by name and by file. The name holds the process's number, so
        # that a child does not get its parent's instance, which a fork may leave in disorder.
        return ctypes.CDLL(f"/proc/{os.getpid()}/fd/{copy}", mode)
    finally:
        os.close(copy)


def _own_instance() -> ctypes.CDLL:
    """Load an instance of SciPy's OpenBLAS with one thread; else `_UnavailableError`."""
    if sys.platform != "linux":
        raise _UnavailableError(f"not on {sys.platform}")
    file = scipy_openblas()
    if file is None:
        raise _UnavailableError("SciPy's BLAS is not an OpenBLAS with POSIX threads")
    shared, theirs = _of_scipy(), ctypes.CDLL(file)
    count = openblas_function(theirs, "get_num_threads")
    before = count()
    try:
        own = _load_copy(file)
    except OSError as error:
        raise _UnavailableError(str(error)) from None
    openblas_function(own, "set_num_threads")(1)
    if count() != before:
        openblas_function(theirs, "set_num_threads")(before)
        raise _UnavailableError("another OpenBLAS takes its place")
    base = _whereabouts(_address_of(own, "dgemm")).base
    if base == shared.base or any(
        _whereabouts(_address_of(own, name)).base != base for name in ROUTINES
    ):
        raise _UnavailableError("SciPy's BLAS and LAPACK are in several files")
    end_threads = getattr(own, "blas_thread_shutdown_", None)
    if end_threads is not None:
        end_threads()  # the threads that it started when it was loaded are idle
    return own


class Library:
    """Addresses of `ROUTINES`, in `slots` that compiled code reads.

    Attributes
    ----------
    own : bool
        True where the routines are those of our own instance.
    description : str
        The BLAS in use and the reason, for a bug report.
    slots : dict of str to ctypes.c_void_p
        Addresses of the routines; the objects stay, as compiled code points to them.
    """

    def __init__(self, choice: str) -> None:
        if choice not in ("own", "shared"):
            raise ValueError(f"FASTBCD_BLAS={choice}: it must be own or shared")
        self.slots = {name: ctypes.c_void_p() for name in ROUTINES}
        self._choice = choice
        self.renew()

    def renew(self) -> None:
        """Load another instance: after `fork` the parent's may be in the middle of a call."""
        try:
            if self._choice == "shared":
                raise _UnavailableError("FASTBCD_BLAS=shared")
            own = _own_instance()
        except _UnavailableError as reason:
            self.own, self.description = False, f"shared with the process: {reason}"
            addresses = {name: _scipy_address(name) for name in ROUTINES}
        else:
            self.own, self.description = True, "an instance of its own, one thread a call"
            addresses = {name: _address_of(own, name) for name in ROUTINES}
        for name, address in addresses.items():
            self.slots[name].value = address

    def function(self, name: str) -> Callable[..., None]:
        """Routine `name` as a function of addresses; it releases the interpreter lock."""
        address = self.slots[name].value
        assert address is not None

        def call(*pointers: int) -> None:
            kinds = [ctypes.c_void_p] * len(pointers)
            ctypes.CFUNCTYPE(None, *kinds)(address)(*pointers)

        return call


def _scipy_address(name: str) -> int:
    module = "cython_blas" if name in _BLAS else "cython_lapack"
    return int(get_cython_function_address(f"scipy.linalg.{module}", name))


LIBRARY = Library(os.environ.get("FASTBCD_BLAS") or "own")
