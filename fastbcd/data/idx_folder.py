"""Folders of MNIST-style IDX files, with all file names that are in use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from fastbcd.data.idx import open_idx
from fastbcd.data.names import NAMES
from fastbcd.data.reading import Pair, Sets
from fastbcd.errors import InputError

# File names of MNIST, of EMNIST (with the name of a set in front), and as Kaggle spells them.
FORM = re.compile(
    r"(?:(?P<set>.+)-)?(?P<part>train|t10k|test)-(?P<what>images|labels)[-.]idx\d[-.]ubyte(?P<gz>\.gz)?",
    re.IGNORECASE,
)
STEMS = {
    "X_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "X_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class Found:
    """An IDX file with its set and array; among equal ones the lowest `priority` is taken."""

    path: Path
    set: str
    role: str
    priority: tuple[bool, bool, bool, str]


def idx_files(folder: Path) -> list[Found]:
    """Find the IDX files in `folder`, then those in its subfolders that are named as such a file.

    Some archives unpack each file into a folder of the same name.
    """
    entries = sorted(path for path in folder.iterdir() if FORM.fullmatch(path.name))
    found = [_found(path, False) for path in entries if path.is_file()]
    for inner in entries:
        if inner.is_dir():
            within = (path for path in sorted(inner.iterdir()) if FORM.fullmatch(path.name))
            found += [_found(path, True) for path in within if path.is_file()]
    return found


def _found(path: Path, inside: bool) -> Found:
    form = FORM.fullmatch(path.name)
    assert form is not None
    what = "X" if form["what"].lower() == "images" else "y"
    part = "train" if form["part"].lower() == "train" else "test"
    packed = form["gz"] is not None
    priority = (inside, ".idx" in path.name.lower(), packed, path.name)
    return Found(path, (form["set"] or "").lower(), f"{what}_{part}", priority)


def open_idx_folder(folder: Path, training: bool) -> Sets:
    """Open the four files of `folder`, or only the two test files unless `training`.

    Raises
    ------
    InputError
        A file is missing, or there are files of several sets.
    """
    found = idx_files(folder)
    sets = sorted({file.set for file in found})
    if len(sets) > 1 and "" not in sets:
        raise InputError(
            f"{folder} holds the IDX files of {len(sets)} sets, {', '.join(sets)}; keep one of "
            "them in a folder of its own"
        )
    chosen: dict[str, Path] = {}
    for file in sorted(found, key=lambda file: file.priority, reverse=True):
        if file.set == sets[0]:
            chosen[file.role] = file.path
    for role in NAMES if training else NAMES[2:]:
        if role not in chosen:
            stem = f"{sets[0]}-{STEMS[role]}" if sets and sets[0] else STEMS[role]
            held = ", ".join(sorted(path.name for path in chosen.values())) or "none of them"
            raise InputError(
                f"{folder} has no {stem} or {stem}.gz, one of the four IDX files it needs; it "
                f"holds {held}"
            )

    def pair(which: str) -> Pair:
        return Pair([open_idx(chosen[f"X_{which}"])], [open_idx(chosen[f"y_{which}"])])

    return Sets(folder.resolve().name, pair("train") if training else None, pair("test"))
