"""Model files, checkpoints, run folders and data of strangers: reading them runs nothing of theirs.

.github/SECURITY.md promises it. Python reports to an audit hook what it is about to do: run
code, look up a name for a pickle, start a process, load a library, connect, write a file. While the
files below are read, none of this happens.
"""

import contextlib
import gc
import json
import os
import pickle
import sys
import tracemalloc

import numpy as np
import pytest
from test_data import write_csv, write_npz

from fastbcd import InputError, Model, Problem, ThreeSplitting, resume
from fastbcd.callbacks import SaveCheckpoint
from fastbcd.cli.run_folder import RunFolder
from fastbcd.data import Preprocessing, load
from fastbcd.files.checksummed import read_checksummed, write_checksummed

FORBIDDEN = {
    *("exec", "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("subprocess.Popen", "ctypes.dlopen", "socket.connect"),
}
TEXT = "__import__('os').system('touch HARM')"
SOLVER = ThreeSplitting(Problem((3, 4, 2)))
X, Y = np.random.default_rng(0).random((20, 3)), np.eye(2)[np.arange(20) % 2]
watching, seen = [], []


class Harm:
    """What pickles can do: its pickle calls `os.system`."""

    def __reduce__(self):
        return os.system, ("touch HARM",)


def notice(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if watching and (event in FORBIDDEN or writes):
        seen.append((event, *map(str, arguments)))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A model and a checkpoint as this package writes them."""
    folder = tmp_path_factory.mktemp("good")
    result = SOLVER.fit(
        X, Y, max_iter=2, callbacks=[SaveCheckpoint(folder / "checkpoint", every=1)]
    )
    Model(result.network, np.array(["a", "b"]), Preprocessing.fit(X)).save(folder / "model")
    sys.addaudithook(notice)  # it cannot be removed, so it looks at `watching`
    return folder


def read_checkpoint(path):
    return resume(path, SOLVER, X, Y)


def refused_in_peace(read, path):
    """The error of reading `path`; reading did nothing forbidden, and took little memory."""
    seen.clear()
    gc.collect()  # what earlier tests left may do anything when it ends
    tracemalloc.start()
    watching.append(True)
    try:
        with pytest.raises(InputError) as caught:
            read(path)
    finally:
        watching.clear()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not seen
    assert peak < 2e7
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "read"),
    [("model", Model.load), ("checkpoint", read_checkpoint)],
    ids=["model", "checkpoint"],
)
def test_files_with_a_good_checksum_run_nothing_whatever_their_metadata_say(
    good, tmp_path, name, read
):
    arrays, metadata = read_checksummed(good / name, name)
    read(good / name)  # what is imported on first use is imported now
    path = tmp_path / "bad"
    for key in sorted(set(metadata) - {"checksum", "fastbcd", "max_iter"}):
        for value in (TEXT, [TEXT], {"__reduce__": TEXT}, [[TEXT, TEXT]] * 2, 2**70, -1, None):
            write_checksummed(path, arrays, {**metadata, key: value})
            seen.clear()
            watching.append(True)
            # Not all of it is an error: some is data, such as the name of a feature.
            with contextlib.suppress(InputError, ValueError, TypeError, KeyError, AttributeError):
                read(path)
            watching.clear()
            assert not seen, f"{key}: {value}"
    assert not (tmp_path / "HARM").exists()


def as_header(entries):
    header = json.dumps(entries).encode() if isinstance(entries, dict) else entries
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize("read", [Model.load, read_checkpoint], ids=["model", "checkpoint"])
@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Harm()),
        as_header({"W1": {"dtype": "F64", "shape": [2**40, 2**20], "data_offsets": [0, 2**63]}}),
        as_header({"W1": {"dtype": "F64", "shape": [2**62, 2], "data_offsets": [0, 0]}}),
        (2**62).to_bytes(8, "little") + b"{}",
        as_header(b"[" * 100_000),
        as_header({"W1": TEXT}),
    ],
    ids=["a pickle", "huge", "overflow", "a long header", "deep", "no entry"],
)
def test_other_files_are_refused_without_their_memory(good, tmp_path, monkeypatch, content, read):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").write_bytes(content)
    assert "bad" in refused_in_peace(read, tmp_path / "bad")
    assert not (tmp_path / "HARM").exists()


def test_arrays_of_objects_are_refused_because_they_are_pickles(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "set.npz")
    load(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as archive:
        arrays = dict(archive)
    for name in ("X_train", "y_train"):
        objects = np.full(arrays[name].shape, Harm(), object)
        np.savez(tmp_path / "bad.npz", **{**arrays, name: objects})
        assert "bad.npz" in refused_in_peace(load, tmp_path / "bad.npz")
    assert not (tmp_path / "HARM").exists()


def test_text_in_tables_and_run_folders_is_text(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "bad.csv", f"a,b\n1,x\n{TEXT},y\n")
    assert "bad.csv" in refused_in_peace(lambda path: load(path, target="b"), tmp_path / "bad.csv")
    (tmp_path / "config.json").write_text(f"{{'a': {TEXT}}}")
    assert "config.json" in refused_in_peace(lambda path: RunFolder(path).read_config(), tmp_path)
    assert not (tmp_path / "HARM").exists()


def test_the_watch_sees_a_pickle_that_calls_something(good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    watching.append(True)
    pickle.loads(pickle.dumps(Harm()))
    watching.clear()
    assert {"pickle.find_class", "os.system"} <= {event for event, *_ in seen}
    assert (tmp_path / "HARM").exists()
