"""Ranks read their parts; the parts add up to the whole, and no rank holds more than its part."""

import gzip
import tracemalloc

import numpy as np
import pytest
from data_forms import FORMS, write
from rank_threads import Part, on_ranks
from test_preprocessing_parts import mapped_mib

from fastbcd import InputError, MiniBatchThreeSplitting, Problem, one_hot
from fastbcd.cli.main import main
from fastbcd.data import load
from fastbcd.data.labels import classes_of

MIB = 2**20


def make(dtype="float32", n=23, n_test=11, shape=(3, 2), labels=np.uint8):
    rng = np.random.default_rng(0)
    return {
        "X_train": rng.integers(-90, 90, (n, *shape)).astype(dtype),
        "y_train": (np.arange(n) % 3).astype(labels),
        "X_test": rng.integers(-90, 90, (n_test, *shape)).astype(dtype),
        "y_test": (np.arange(n_test) % 3).astype(labels),
    }


def assert_is(data, arrays):
    for name, array in arrays.items():
        found = getattr(data, name)
        flat = array.reshape(len(array), -1) if array.ndim > 1 else array
        np.testing.assert_array_equal(found, flat, err_msg=name)
        assert found.dtype == flat.dtype


def joined(parts, name):
    return np.concatenate([getattr(part, name) for part in parts])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "shape"), [("float32", (3, 2)), ("uint8", (4,))])
def test_parts_of_ranks_add_up_to_the_whole(tmp_path, form, dtype, shape):
    arrays = make(dtype, shape=shape)
    path = str(write(form, tmp_path / "set", arrays))
    assert_is(load(path), arrays)
    for size in (2, 3, 5, 26):  # the last is more than there are samples
        parts = [load(path, ranks=Part(rank, size)) for rank in range(size)]
        assert {(part.n_train, part.n_test) for part in parts} == {(23, 11)}
        assert max(len(part.X_train) for part in parts) == -(-23 // size)
        for name, array in arrays.items():
            np.testing.assert_array_equal(
                joined(parts, name), array.reshape(len(array), *(() if name[0] == "y" else (-1,)))
            )
        assert all(part.X_train.dtype == dtype for part in parts)


def test_ranks_take_whole_units_of_training_samples(tmp_path):
    arrays = make()
    path = str(write("shards", tmp_path / "set", arrays))

    def unit(n_features):
        return n_features + 1

    parts = [load(path, ranks=Part(rank, 3), unit=unit) for rank in range(3)]
    assert [len(part.X_train) for part in parts] == [7, 7, 9]
    assert [len(part.X_test) for part in parts] == [3, 4, 4]
    np.testing.assert_array_equal(joined(parts, "X_train"), arrays["X_train"].reshape(23, 6))
    np.testing.assert_array_equal(joined(parts, "y_train"), arrays["y_train"])


@pytest.mark.parametrize("form", ["npz", "npz compressed", "shards", "npy"])
def test_text_labels_and_big_endian_numbers_are_read_by_parts_too(tmp_path, form):
    arrays = make(">f8", labels=str)
    arrays["y_train"] = np.array(["a", "bb", "a rather long one"])[np.arange(23) % 3]
    path = str(write(form, tmp_path / "set", arrays))
    parts = [load(path, ranks=Part(rank, 3)) for rank in range(3)]
    np.testing.assert_array_equal(joined(parts, "X_train"), arrays["X_train"].reshape(23, 6))
    np.testing.assert_array_equal(joined(parts, "y_train"), arrays["y_train"])
    assert parts[0].X_train.dtype == np.float64


def test_a_csv_and_digits_are_split_as_one_and_cut(tmp_path):
    (tmp_path / "t.csv").write_text("a,kind\n" + "1,x\n2,y\n3,y\n4,x\n" * 6)
    for source, options in [(str(tmp_path / "t.csv"), {"target": "kind"}), (None, {})]:
        whole = load(source, **options)
        parts = [load(source, **options, ranks=Part(rank, 5)) for rank in range(5)]
        for name in ("X_train", "y_train", "X_test", "y_test"):
            np.testing.assert_array_equal(joined(parts, name), getattr(whole, name))
        assert {(p.n_train, p.n_test) for p in parts} == {(whole.n_train, whole.n_test)}
        assert all(part.X_train.base is None for part in parts)  # the whole is not kept
        assert parts[0].feature_names == whole.feature_names


@pytest.mark.parametrize("form", FORMS)
def test_what_lies_in_a_file_as_in_memory_stays_there_and_the_rest_goes_where_it_is_told(
    tmp_path, form
):
    arrays = make("uint8", n=40, n_test=40, shape=(5,))
    path, asked = str(write(form, tmp_path / "set", arrays)), []

    def allocate(shape, dtype):
        asked.append(np.zeros(shape, dtype))
        return asked[-1]

    data = load(path, ranks=Part(1, 10), allocate=allocate)
    np.testing.assert_array_equal(data.X_train, arrays["X_train"][4:8])
    if "compressed" in form or "gz" in form:
        assert len(asked) == 2
        assert not isinstance(data.X_train, np.memmap)
        np.testing.assert_array_equal(asked[0].reshape(-1), data.X_train.ravel(order="K"))
    else:
        assert asked == []
        assert isinstance(data.X_train, np.memmap)
        assert not data.X_train.flags.writeable


def test_big_endian_files_are_copied(tmp_path):
    data = load(str(write("idx", tmp_path / "set", make("int16"))))
    assert not isinstance(data.X_train, np.memmap)


@pytest.mark.parametrize("form", FORMS)
def test_a_rank_holds_its_part_and_a_few_pieces(tmp_path, form):
    n, d, size = 12_000, 256, 4
    X = np.tile(np.arange(d, dtype=np.float32), (n, 1))
    arrays = {"X_train": X, "y_train": np.arange(n, dtype=np.int32) % 3}
    arrays |= {"X_test": X[:50], "y_test": arrays["y_train"][:50]}
    path = str(write(form, tmp_path / "set", arrays))
    part = 4 * n * d // size

    def on_disk(shape, dtype):
        return np.memmap(tmp_path / f"{np.prod(shape)}", dtype, "w+", shape=shape)

    for rank, allocate, bound in [(2, None, part), (3, on_disk, 0)]:
        tracemalloc.start()
        data = load(path, ranks=Part(rank, size), allocate=allocate)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < bound + 4 * MIB < 4 * n * d
        np.testing.assert_array_equal(data.X_train, X[: n // size])


def test_rows_that_are_read_into_a_file_do_not_stay_in_memory(tmp_path):
    X = np.tile(np.arange(256, dtype=np.float32), (30_000, 1))  # 29 MiB
    y = np.arange(len(X)) % 3
    arrays = {"X_train": X, "y_train": y, "X_test": X[:9], "y_test": y[:9]}
    path = str(write("npz compressed", tmp_path / "set", arrays))

    def on_disk(shape, dtype):
        return np.memmap(tmp_path / f"{shape}", dtype, "w+", shape=shape)

    before = mapped_mib()
    data = load(path, allocate=on_disk)
    assert mapped_mib() < before + 6
    np.testing.assert_array_equal(data.X_train, X)


def damage(path, where):
    """Change the byte at `where`, a place or a share of the file."""
    content = bytearray(path.read_bytes())
    content[where if isinstance(where, int) else int(where * len(content))] ^= 0xFF
    path.write_bytes(content)


def test_damage_is_found_by_whoever_reads_that_far(tmp_path):
    arrays = make("int32", n=3000, shape=(50,))
    for form, name in [("idx gz", "train-images-idx3-ubyte.gz"), ("npz compressed", "set.npz")]:
        path = write(form, tmp_path / form, arrays)
        # Among the last rows of X_train, which is nearly all there is.
        damage(path / name if path.is_dir() else path, 0.8)
        load(str(path), ranks=Part(0, 3))
        with pytest.raises(InputError, match="rank 0: .*cannot be read"):
            load(str(path), ranks=Part(2, 3))


def test_only_shards_with_rows_of_a_rank_are_read(tmp_path):
    path = write("shards compressed", tmp_path / "set", make("int32", n=3000, shape=(50,)))
    damage(path / "part-4.npz", 0.5)
    load(str(path), ranks=Part(0, 2))
    with pytest.raises(InputError, match="part-4.npz cannot be read as an .npz archive"):
        load(str(path), ranks=Part(1, 2))


def test_a_wrong_checksum_at_the_end_is_found(tmp_path):
    path = write("idx gz", tmp_path / "idx", make("uint8"))
    damage(path / "train-images-idx3-ubyte.gz", -6)
    load(str(path), ranks=Part(0, 2))
    with pytest.raises(InputError, match="train-images-idx3-ubyte.gz cannot be read: CRC"):
        load(str(path), ranks=Part(1, 2))
    path = write("npz", tmp_path / "npz", make("int16", n=500))
    damage(path, 400)  # among the elements of X_train
    with pytest.raises(InputError, match="set.npz cannot be read as an .npz archive: Bad CRC-32"):
        load(str(path))


def test_an_error_of_one_rank_is_raised_on_all(tmp_path):
    arrays = make()
    arrays["X_train"][20, 1, 0] = np.nan
    path = str(write("npy", tmp_path / "set", arrays))
    errors = on_ranks(3, lambda ranks: load(path, ranks=ranks))
    assert [type(error) for error in errors] == [InputError] * 3
    for error in errors:
        assert "rank 2: " in str(error)
        assert "X_train.npy must be finite, but row 20, column 2 is nan" in str(error)


def change(part, **changes):
    def edit(folder):
        path = folder / f"part-{part}.npz"
        arrays = dict(np.load(path)) | changes
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})

    return edit


NAN = np.full((5, 6), np.nan, np.float32)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change(1, X_train=np.ones((5, 7), "f4")), "part-1.npz has 7 features .*part-0.npz has 6"),
        (change(1, X_train=np.ones((5, 6))), "6 features of type float64, but .* has 6 of float32"),
        (change(3, X_test=None), "part-3.npz has y_test, but no X_test"),
        (change(3, y_test=None), "part-3.npz has X_test, but no y_test"),
        (change(4, y_train=None), "part-4.npz has no array y_train; it holds X_train"),
        (change(2, y_train=np.zeros(9, int)), "y_train of .*part-2.npz has 9 labels, but there"),
        (change(2, y_train=np.full(5, "a")), "part-2.npz has labels of type str.*, but .* uint8"),
        (change(2, X_train=NAN), "X_train of .*part-2.npz must be finite, but row 0, column 0"),
        (lambda folder: (folder / "part-5.npz").write_bytes(b"x"), "part-5.npz is not an .npz"),
    ],
)
def test_shards_that_do_not_fit_are_named(tmp_path, edit, message):
    folder = write("shards", tmp_path / "set", make())
    edit(folder)
    with pytest.raises(InputError, match=message):
        load(str(folder))


def test_shards_may_be_empty_but_not_all_of_them(tmp_path):
    folder = write("shards", tmp_path / "set", make())
    none = {"X_train": np.ones((0, 3, 2), "f4"), "y_train": np.ones(0, np.uint8)}
    change(0, **none)(folder)
    assert load(str(folder)).n_train == 18
    for part in range(1, 5):
        change(part, **none)(folder)
    with pytest.raises(InputError, match="must have at least one sample"):
        load(str(folder))
    change(0, X_test=None, y_test=None)(folder)
    for part in range(1, 4):
        (folder / f"part-{part}.npz").unlink()
    with pytest.raises(InputError, match="none of its 2 .npz archives has X_test"):
        load(str(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("X_train", lambda old: old[:-3], "X_train.npy is truncated: 677 bytes of 680"),
        ("X_train", lambda old: old + b"x", "X_train.npy has 681 bytes where its header says 680"),
        ("X_train", lambda old: b"junk", "X_train.npy cannot be read as a .npy file"),
        ("y_test", lambda old: b"", "y_test.npy cannot be read as a .npy file"),
        ("y_test", None, "has no y_test.npy; it holds X_test, X_train, y_train"),
    ],
)
def test_broken_npy_files_are_named(tmp_path, name, content, message):
    folder = write("npy", tmp_path / "set", make())
    path = folder / f"{name}.npy"
    old = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content(old))
    with pytest.raises(InputError, match=message):
        load(str(folder))


def test_python_objects_are_not_loaded(tmp_path):
    folder = write("npy", tmp_path / "set", make())
    np.save(folder / "y_train.npy", np.array([print] * 23), allow_pickle=True)
    with pytest.raises(
        InputError, match="y_train.npy cannot be .*: Object arrays cannot be loaded"
    ):
        load(str(folder))


def test_memory_is_not_taken_for_what_a_small_gzip_cannot_hold(tmp_path):
    folder = write("idx gz", tmp_path / "set", make("uint8"))
    huge = b"\0\0\x08\x03\0\0\0\x17" + b"\0\xff\xff\xff" * 2 + bytes(5)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(huge))
    with pytest.raises(InputError, match=f"is truncated: 21 bytes of {16 + 23 * (2**24 - 1) ** 2}"):
        load(str(folder))


def test_prediction_needs_no_labels_and_no_training_set(tmp_path):
    arrays = make()
    for form in ("npy", "shards"):
        path = write(form, tmp_path / form, {"X_test": arrays["X_test"]})
        data = load(str(path), training=False)
        np.testing.assert_array_equal(data.X_test, arrays["X_test"].reshape(11, 6))
        assert (data.X_train, data.y_test, data.n_test) == (None, None, 11)


def test_classes_are_those_of_all_ranks():
    labels = np.array([7, 7, 7, 3, 3, 9])
    found = on_ranks(8, lambda ranks: classes_of(labels[ranks.rows(6)], ranks, "set"))
    for classes in found:
        np.testing.assert_array_equal(classes, [3, 7, 9])
    texts = np.array(["b", "b", "long one", "a"])
    for classes in on_ranks(3, lambda ranks: classes_of(texts[ranks.rows(4)], ranks, "set")):
        assert classes.tolist() == ["a", "b", "long one"]
    for error in on_ranks(3, lambda ranks: classes_of(labels[:3][ranks.rows(3)], ranks, "set")):
        assert str(error) == "set: the training labels are all 7; at least two classes needed"


def test_one_hot_rows_go_where_they_are_told():
    out = np.full((3, 2), 9.0)
    assert one_hot([1, 0, 1], 2, out=out) is out
    np.testing.assert_array_equal(out, [[0, 1], [1, 0], [0, 1]])
    assert one_hot(np.empty(0, int), 4).shape == (0, 4)
    with pytest.raises(InputError, match=r"out must have shape \(3, 2\), got \(3, 3\)"):
        one_hot([1, 0, 1], 2, out=np.zeros((3, 3)))


def test_the_command_line_trains_and_predicts_the_same_from_every_form(tmp_path, capsys):
    arrays, models = make("float32", n=60, n_test=20), set()
    for form in ("npz", "npy", "shards compressed"):
        path = str(write(form, tmp_path / form, arrays))
        run = str(tmp_path / f"run {form}")
        assert main(["train", path, "--hidden", "5", "--epochs", "2", "--quiet", "--out", run]) == 0
        models.add((tmp_path / f"run {form}" / "model.safetensors").read_bytes())
        assert main(["predict", run]) == main(["predict", run, path]) == 0
        own, given = capsys.readouterr().out.splitlines()
        assert own == given
        assert own.endswith("on 20 samples")
    assert len(models) == 1


@pytest.mark.parametrize("form", ["npy", "npz"])  # in an archive elements are not aligned
def test_mini_batches_train_on_what_stays_in_a_file(tmp_path, form):
    arrays = make("float32", n=90)
    data = load(str(write(form, tmp_path / "set", arrays)))
    assert isinstance(data.X_train, np.memmap)
    solver = MiniBatchThreeSplitting(Problem((6, 8, 3)), batch_size=20)
    Y, networks = one_hot(data.y_train, 3), []
    for X in (data.X_train, np.array(data.X_train)):
        networks.append(solver.fit(X, Y, max_iter=2).network)
    for mapped, held in zip(networks[0].W, networks[1].W, strict=True):
        np.testing.assert_array_equal(mapped, held)
