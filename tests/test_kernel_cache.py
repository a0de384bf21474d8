"""The cache of compiled kernels is never needed and never trusted."""

import errno
import importlib.util
import itertools
import logging
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from fastbcd.kernels import cache

SOURCE = """
from fastbcd.kernels.jit import kernel

@kernel
def scale(out, A, factor):
    for i in range(A.shape[0]):
        out[i] = FACTOR * factor * A[i]
"""
numbers = itertools.count()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache; warnings of former tests are forgotten."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", set())
    return tmp_path / "cache"


def new_process(tmp_path, factor=2):
    """The kernel of SOURCE as another process would find it: not compiled yet."""
    path = tmp_path / "scaling.py"
    source = SOURCE.replace("FACTOR", str(factor))
    if not path.exists() or path.read_text() != source:
        path.write_text(source)
        # Bytecode of another source of the same size and second would be taken for this one's.
        Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)
    spec = importlib.util.spec_from_file_location("scaling", path)
    sys.modules["scaling"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.scale


def check(kernel, expected, dtype=np.float64, factor=2):
    out = np.zeros(3, dtype)
    kernel(out, np.arange(3, dtype=dtype), 5.0)
    np.testing.assert_array_equal(out, factor * 5 * np.arange(3))
    assert sum(kernel.stats.cache_hits.values()) == expected


def files(folder):
    return sorted(folder.rglob("*.nbc"))


def test_a_second_process_loads_what_the_first_compiled(folder, tmp_path, caplog):
    check(new_process(tmp_path), 0)
    check(new_process(tmp_path), 1)
    assert len(files(folder)) == 1
    assert not caplog.records


def of_numba(path):
    """A file as Numba itself writes them."""
    return pickle.dumps(numba.__version__) + pickle.dumps(("stamp", {}))


DAMAGES = {
    "empty": lambda path: b"",
    "one byte": lambda path: path.read_bytes()[:1],
    "half": lambda path: path.read_bytes()[: path.stat().st_size // 2],
    "last byte missing": lambda path: path.read_bytes()[:-1],
    "only the head": lambda path: path.read_bytes()[: len(cache.MAGIC) + cache.DIGEST],
    "a bit": lambda path: (
        bytes([*path.read_bytes()[:-900], 255 ^ path.read_bytes()[-900]]) + path.read_bytes()[-899:]
    ),
    "random": lambda path: np.random.default_rng(0).bytes(5000),
    "zeros": lambda path: bytes(path.stat().st_size),
    "a pickle of something else": lambda path: pickle.dumps({"scale": 3}),
    "Numba's": of_numba,
    "text": lambda path: b"<html>quota exceeded</html>",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_again_and_replaced(folder, tmp_path, caplog, damage):
    check(new_process(tmp_path), 0)
    (path,) = files(folder)
    whole = path.read_bytes()
    path.write_bytes(DAMAGES[damage](path))
    assert path.read_bytes() != whole
    check(new_process(tmp_path), 0)
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    check(new_process(tmp_path), 1)
    assert len(caplog.records) == 1


def test_a_pickle_that_would_act_when_it_is_read_is_not_read(folder, tmp_path):
    class Acts:
        def __reduce__(self):
            return Path.touch, (tmp_path / "acted",)

    check(new_process(tmp_path), 0)
    files(folder)[0].write_bytes(pickle.dumps(Acts()))
    check(new_process(tmp_path), 0)
    assert not (tmp_path / "acted").exists()


def test_the_file_of_another_signature_is_not_taken(folder, tmp_path):
    check(new_process(tmp_path), 0)
    (of_float64,) = files(folder)
    check(new_process(tmp_path), 0, np.float32)
    (of_float32,) = set(files(folder)) - {of_float64}
    of_float64.replace(of_float32)  # sealed, but of other types
    check(new_process(tmp_path), 0, np.float32)


def test_an_edit_of_any_kernel_makes_old_files_stale_and_removes_them(
    folder, tmp_path, monkeypatch
):
    check(new_process(tmp_path), 0)
    (old,) = files(folder)
    check(new_process(tmp_path, factor=3), 0, factor=3)  # of its own file
    (edited,) = files(folder)
    assert edited != old
    monkeypatch.setattr(cache, "_source_of_kernels", lambda: "a helper in another file")
    check(new_process(tmp_path, factor=3), 0, factor=3)
    assert len(files(folder)) == 1
    assert files(folder) != [edited]


def test_checks_of_bounds_have_code_of_their_own(folder, tmp_path, monkeypatch):
    check(new_process(tmp_path), 0)
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
    checked = new_process(tmp_path)
    check(checked, 0)
    with pytest.raises(IndexError):
        checked(np.zeros(2), np.zeros(3), 1.0)
    monkeypatch.setattr(numba.config, "BOUNDSCHECK", None)
    check(new_process(tmp_path), 1)


def no_folder(folder, monkeypatch):
    folder.write_text("a file where the folder should be")
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")


def full_disk(folder, monkeypatch):
    write = Path.write_bytes

    def half(path, content):
        write(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)


def unknown_locator(folder, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "no.such.Locator")


def unreadable(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)


@pytest.mark.parametrize("trouble", [no_folder, full_disk, unknown_locator, unreadable])
def test_without_a_cache_kernels_work_and_one_warning_says_so(
    folder, tmp_path, monkeypatch, caplog, trouble
):
    cache._source_of_kernels()  # read once a process, before the trouble
    trouble(folder, monkeypatch)
    for _ in range(2):
        kernel = new_process(tmp_path)
        check(kernel, 0)
        check(kernel, 0, np.float32)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "NUMBA_CACHE_DIR" in caplog.text
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".nbc"]


def test_code_with_addresses_is_not_kept_and_one_warning_says_so(folder, tmp_path, caplog):
    path = tmp_path / "scaling.py"
    path.write_text(
        "from ctypes import CFUNCTYPE, c_double\n"
        "from fastbcd.kernels.jit import kernel\n"
        "twice = CFUNCTYPE(c_double, c_double)(lambda x: 2 * x)\n"
        "@kernel\n"
        "def scale(x):\n"
        "    return twice(x)\n"
    )
    spec = importlib.util.spec_from_file_location("scaling", path)
    sys.modules["scaling"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.scale(3.0) == module.scale(3) == 6.0
    assert len(caplog.records) == 1
    assert not files(folder)


def test_a_folder_that_disappears_is_made_again(folder, tmp_path, caplog):
    kernel = new_process(tmp_path)
    check(kernel, 0)
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    check(kernel, 0, np.float32)
    check(new_process(tmp_path), 1, np.float32)
    kernel._cache.flush()
    kernel._cache.flush()
    assert not files(folder)
    assert not caplog.records


def test_processes_that_write_at_once_leave_whole_files(folder, tmp_path, caplog):
    kernel = new_process(tmp_path)
    check(kernel, 0)
    key, files_of_kernel = "key", kernel._cache._files
    (compiled,) = kernel.overloads.values()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: files_of_kernel.save(key, compiled), range(40)))
    assert len(files(folder)) == 2
    assert files_of_kernel.load(key, kernel.targetctx) is not None
    assert not [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_numba_is_left_as_it_was(folder, tmp_path):
    @numba.njit(cache=True)
    def f(x):
        return x + 1

    assert type(f._cache) is numba.core.caching.FunctionCache
    assert f(1) == 2


class Terminal:
    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_compilation_is_announced_once_in_a_terminal_only(folder, tmp_path, monkeypatch, capfd):
    check(new_process(tmp_path), 0)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys, "stderr", Terminal())
    logger = logging.getLogger("fastbcd")
    check(new_process(tmp_path), 1)
    assert sys.stderr.text == ""  # nothing was compiled
    monkeypatch.setattr(logger, "level", logging.WARNING)
    check(new_process(tmp_path), 0, np.float32)
    assert sys.stderr.text == ""  # --quiet
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    for dtype in (np.complex64, np.complex128):
        check(new_process(tmp_path), 0, dtype)
    assert sys.stderr.text.count("\n") == 1
    assert "compiling" in sys.stderr.text
