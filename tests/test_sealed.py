"""Files with a checksum: what was written is read again, and anything else is refused."""

import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save

from fastbcd import InputError, sealed
from fastbcd.sealed import read_sealed, write_sealed

ARRAYS = {
    "a": np.arange(12.0).reshape(3, 4),
    "b": np.arange(5, dtype=np.int32),
    "c": np.array([True, False]),
    "d": np.empty((0, 3), np.float32),
}
METADATA = {"format": 3, "name": 'with "checksum": "0000" in it, and äöü \\', "list": [1, None]}


@pytest.fixture
def path(tmp_path):
    write_sealed(tmp_path / "file", ARRAYS, METADATA)
    return tmp_path / "file"


def test_arrays_and_metadata_come_back_as_they_were_written(path):
    arrays, metadata = read_sealed(path, "thing")
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert metadata.items() >= METADATA.items()
    assert re.fullmatch("[0-9a-f]{64}", metadata["checksum"])


def test_arrays_that_are_not_contiguous_are_written_row_by_row(tmp_path):
    write_sealed(tmp_path / "file", {"a": ARRAYS["a"].T[::2]}, {"format": 1})
    np.testing.assert_array_equal(read_sealed(tmp_path / "file", "x")[0]["a"], ARRAYS["a"].T[::2])


def test_the_same_content_gives_the_same_bytes_in_any_order(path, tmp_path):
    backwards = dict(reversed(ARRAYS.items())), dict(reversed(METADATA.items()))
    write_sealed(tmp_path / "other", *backwards)
    assert (tmp_path / "other").read_bytes() == path.read_bytes()


def test_others_may_read_it_as_any_new_file(path):
    ordinary = path.with_name("ordinary")
    ordinary.write_text("")
    assert path.stat().st_mode == ordinary.stat().st_mode


def test_any_reader_of_safetensors_can_open_it(path):
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["fastbcd"])["format"] == 3
        np.testing.assert_array_equal(file.get_tensor("a"), ARRAYS["a"])


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_the_checksum_does_not_depend_on_how_the_file_is_read(path, monkeypatch, chunk):
    monkeypatch.setattr(sealed, "CHUNK", chunk)
    np.testing.assert_array_equal(read_sealed(path, "thing")[0]["a"], ARRAYS["a"])
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\xff")
    with pytest.raises(InputError, match="its checksum is wrong"):
        read_sealed(path, "thing")


def test_each_changed_byte_of_the_whole_file_is_noticed(path):
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged"):
            # No byte may turn a file with a checksum into one that needs none.
            read_sealed(path, "thing", unsealed_formats=(1, 2))


def test_a_file_without_checksum_passes_only_where_its_format_had_none(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(save({"a": ARRAYS["a"]}, {"fastbcd": json.dumps({"format": 2})}))
    np.testing.assert_array_equal(read_sealed(path, "thing", (1, 2))[0]["a"], ARRAYS["a"])
    with pytest.raises(InputError, match="is damaged: it has no checksum"):
        read_sealed(path, "thing", (1,))


@pytest.mark.parametrize(
    "metadata", [None, {}, {"other": "1"}, {"fastbcd": "no JSON"}, {"fastbcd": "[1]"}]
)
def test_other_safetensors_files_are_refused(tmp_path, metadata):
    path = tmp_path / "file"
    path.write_bytes(save({"a": ARRAYS["a"]}, metadata))
    with pytest.raises(InputError, match="is not a fastbcd thing, or damaged"):
        read_sealed(path, "thing", (1,))


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
        read_sealed(tmp_path / "nowhere", "thing")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_sealed(tmp_path, "thing")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path):
    content = path.read_bytes()
    with pytest.raises(TypeError):
        write_sealed(path, ARRAYS, {"format": object()})
    with pytest.raises(Exception, match="dtype"):
        write_sealed(path, {"a": np.array(["text"])}, {"format": 1})
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["file"]
