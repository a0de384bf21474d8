"""A data set in each form that can be read by rows."""

import gzip

import numpy as np

IDX_CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D}
IDX_NAMES = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def idx_bytes(array):
    header = bytes([0, 0, IDX_CODES[array.dtype.name], array.ndim])
    sizes = b"".join(int(size).to_bytes(4, "big") for size in array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def in_shards(arrays, count):
    """`arrays` in `count` parts of different sizes; the test set in all but the last."""
    for shard in range(count):
        part = {}
        for name, array in arrays.items():
            n = count - 1 if name.endswith("test") else count
            if shard < n:
                rows = np.array_split(np.arange(len(array)), n)[shard]
                part[name] = array[rows]
        yield part


def write(form, folder, arrays):
    """The data set `arrays` in a form such as ``"npz compressed"``; the path of DATA."""
    kind, *how = form.split()
    if "fortran" in how:
        arrays = {name: np.asfortranarray(array) for name, array in arrays.items()}
    save = np.savez_compressed if "compressed" in how else np.savez
    folder.mkdir(exist_ok=True)
    if kind == "npz":
        save(folder / "set.npz", **arrays)
        return folder / "set.npz"
    if kind == "shards":
        for k, part in enumerate(in_shards(arrays, 5)):
            save(folder / f"part-{k}.npz", **part)
        return folder
    for name, array in arrays.items():
        if kind == "npy":
            np.save(folder / f"{name}.npy", array)
        elif "gz" in how:
            content = gzip.compress(idx_bytes(array), 1, mtime=0)
            (folder / f"{IDX_NAMES[name]}.gz").write_bytes(content)
        else:
            (folder / IDX_NAMES[name]).write_bytes(idx_bytes(array))
    return folder


FORMS = [
    *("npy", "npy fortran", "npz", "npz compressed", "npz fortran", "npz fortran compressed"),
    *("shards", "shards compressed", "shards fortran compressed", "idx", "idx gz"),
]
