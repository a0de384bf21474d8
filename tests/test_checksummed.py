"""Files with a checksum: everything that was written is read again, and other files are refused."""

import json
import re
import tracemalloc

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from fastbcd import InputError
from fastbcd.files import checksummed
from fastbcd.files.checksummed import ChecksummedFile, read_checksummed, write_checksummed

ARRAYS = {
    "a": np.arange(12.0).reshape(3, 4),
    "b": np.arange(5, dtype=np.int32),
    "c": np.array([True, False]),
    "d": np.empty((0, 3), np.float32),
}
METADATA = {"format": 3, "name": 'with "checksum": "0000" in it, and äöü \\', "list": [1, None]}


@pytest.fixture
def path(tmp_path):
    write_checksummed(tmp_path / "file", ARRAYS, METADATA)
    return tmp_path / "file"


def test_arrays_and_metadata_come_back_as_they_were_written(path):
    arrays, metadata = read_checksummed(path, "thing")
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert metadata.items() >= METADATA.items()
    assert re.fullmatch("[0-9a-f]{64}", metadata["checksum"])


def test_arrays_that_are_not_contiguous_are_written_row_by_row(tmp_path):
    write_checksummed(tmp_path / "file", {"a": ARRAYS["a"].T[::2]}, {"format": 1})
    np.testing.assert_array_equal(
        read_checksummed(tmp_path / "file", "x")[0]["a"], ARRAYS["a"].T[::2]
    )


def test_the_same_content_gives_the_same_bytes_in_any_order(path, tmp_path):
    backwards = dict(reversed(ARRAYS.items())), dict(reversed(METADATA.items()))
    write_checksummed(tmp_path / "other", *backwards)
    assert (tmp_path / "other").read_bytes() == path.read_bytes()


def test_others_may_read_it_as_any_new_file(path):
    ordinary = path.with_name("ordinary")
    ordinary.write_text("")
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_any_reader_of_safetensors_can_open_it(path):
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["fastbcd"])["format"] == 3
        np.testing.assert_array_equal(file.get_tensor("a"), ARRAYS["a"])


def test_its_bytes_are_those_that_safetensors_writes(tmp_path):
    names = ("bool", "int8", "uint8", "float16", "int16", "uint32", "float32", "int64", "float64")
    arrays = {f"{k} ü": np.arange(2 * k).astype(name) for k, name in enumerate(names)}
    arrays |= {"other": np.ones((3, 1, 2)), "number": np.array(2.5), "a": np.ones(3, np.float32)}
    write_checksummed(tmp_path / "file", arrays, METADATA)
    with safe_open(tmp_path / "file", "numpy") as file:
        expected = save(arrays, file.metadata())
    assert (tmp_path / "file").read_bytes() == expected


def test_numbers_of_the_other_byte_order_are_turned_around(tmp_path):
    write_checksummed(tmp_path / "file", {"a": np.arange(5, dtype=">i4")}, {"format": 1})
    np.testing.assert_array_equal(load_file(tmp_path / "file")["a"], np.arange(5))


def test_memory_for_a_block_is_enough_for_arrays_of_any_size(tmp_path):
    """64 MB of rows in a file are written, verified and read with less than 16 MB."""
    shape, path = (2**14, 2**10), tmp_path / "file"
    large = np.memmap(tmp_path / "large", np.float32, "w+", shape=shape)
    large[:, 3] = np.arange(shape[0])
    result = np.memmap(tmp_path / "result", np.float32, "w+", shape=shape)
    tracemalloc.start()
    try:
        write_checksummed(path, {"large": large, "turned": large.T[5:7]}, {"format": 1})
        with ChecksummedFile(path, "thing") as file:
            for start, block in file.blocks("large"):
                result[start : start + len(block)] = block
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    np.testing.assert_array_equal(result[::7], large[::7])


@pytest.mark.parametrize("rows", [(0, 3), (1, 2), (2, 3), (1, 1), (0, None), (1, 9)])
def test_some_rows_are_read_without_the_others(path, rows, monkeypatch):
    monkeypatch.setattr(checksummed, "CHUNK", 32)
    with ChecksummedFile(path, "thing") as file:
        blocks = [block for _, block in file.blocks("a", *rows)]
    assert all(len(block) == 1 for block in blocks)
    expected = ARRAYS["a"][slice(*rows)]
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 4)), *blocks]), expected)


def test_a_header_that_points_outside_of_the_file_is_refused(tmp_path):
    path = tmp_path / "file"
    content = save({"a": ARRAYS["a"]}, {"fastbcd": json.dumps({"format": 2})})
    for old, new in ((b"[3,4]", b"[9,4]"), (b"[0,96]", b"[1,97]"), (b"[3,4]", b"[-3,-4]")):
        longer = len(new) - len(old)
        header = content[8:].replace(old, new, 1)
        header = header.replace(b"}" + b" " * longer, b"}", 1) if longer else header
        path.write_bytes(content[:8] + header)
        with pytest.raises(InputError, match="is not a fastbcd thing, or damaged"):
            read_checksummed(path, "thing", (2,))


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_the_checksum_does_not_depend_on_how_the_file_is_read(path, monkeypatch, chunk):
    monkeypatch.setattr(checksummed, "CHUNK", chunk)
    np.testing.assert_array_equal(read_checksummed(path, "thing")[0]["a"], ARRAYS["a"])
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\xff")
    with pytest.raises(InputError, match="its checksum is wrong"):
        read_checksummed(path, "thing")


def test_each_changed_byte_of_the_whole_file_is_noticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            # No byte may turn a file with a checksum into one that needs none.
            read_checksummed(path, "thing", formats_without_checksum=(1, 2))


def test_a_file_without_checksum_passes_only_where_its_format_had_none(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(save({"a": ARRAYS["a"]}, {"fastbcd": json.dumps({"format": 2})}))
    np.testing.assert_array_equal(read_checksummed(path, "thing", (1, 2))[0]["a"], ARRAYS["a"])
    with pytest.raises(InputError, match="is damaged: it has no checksum"):
        read_checksummed(path, "thing", (1,))


@pytest.mark.parametrize(
    "metadata", [None, {}, {"other": "1"}, {"fastbcd": "no JSON"}, {"fastbcd": "[1]"}]
)
def test_other_safetensors_files_are_refused(tmp_path, metadata):
    path = tmp_path / "file"
    path.write_bytes(save({"a": ARRAYS["a"]}, metadata))
    with pytest.raises(InputError, match="is not a fastbcd thing, or damaged"):
        read_checksummed(path, "thing", (1,))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_checksummed(tmp_path / "nowhere", "thing")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_checksummed(tmp_path, "thing")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path):
    content = path.read_bytes()
    with pytest.raises(TypeError):
        write_checksummed(path, ARRAYS, {"format": object()})
    with pytest.raises(Exception, match="dtype"):
        write_checksummed(path, {"a": np.array(["text"])}, {"format": 1})
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["file"]
