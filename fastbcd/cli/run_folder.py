"""The folder that a run writes: config.json, history.csv, model.safetensors, summary.json.

While the run is under way there may be checkpoint.safetensors and the folder of its parts, too.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from fastbcd.checkpoints import shards
from fastbcd.cli.output import writing
from fastbcd.errors import InputError
from fastbcd.files.atomic import write_json
from fastbcd.models.model import Model

DEFAULT_PARENT = Path("runs")


class RunFolder:
    """Paths of the files that a run writes to the folder `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.history = path / "history.csv"
        self.model = path / "model.safetensors"
        self.summary = path / "summary.json"
        self.checkpoint = path / "checkpoint.safetensors"

    @classmethod
    def create(cls, requested: str | None, data_name: str) -> RunFolder:
        """Make a new, empty folder: `requested`, or the next free ``runs/DATA-K``.

        Raises
        ------
        InputError
            The folder holds something already, or it cannot be made.
        """
        try:
            if requested is None:
                return cls(_next_free(data_name))
            path = Path(requested)
            if path.exists() and not path.is_dir():
                raise InputError(f"--out: {path} is a file; name a new or empty folder")
            # A run that is killed at once leaves the latter.
            if path.exists() and {file.name for file in path.iterdir()} - {"config.json.partial"}:
                held = "holds another run" if (path / "config.json").exists() else "is not empty"
                raise InputError(f"--out: {path} {held}; name a new or empty folder")
            path.mkdir(parents=True, exist_ok=True)
            return cls(path)
        except OSError as error:
            raise InputError(f"--out: the folder cannot be made: {error}") from None

    def finish(self, summary: dict[str, Any]) -> None:
        """Write summary.json, which says that the run is over, and remove the checkpoint."""
        write_json(self.summary, summary)
        shards.remove(self.checkpoint)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json, which holds all options of the run."""
        with writing(self.path):
            write_json(self.config, config)

    def read_config(self) -> dict[str, Any]:
        """The options of the run; `InputError` if this is no run folder."""
        try:
            config = json.loads(self.config.read_text(encoding="utf-8"))
            texts = (config["data"], config["target"])
            if not all(text is None or isinstance(text, str) for text in texts) or not isinstance(
                config["test_fraction"], float
            ):
                raise ValueError("an option in it has the wrong type")
            return config
        except FileNotFoundError:
            raise InputError(f"{self.path} is not a run folder: it has no config.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.config} cannot be used: {error}") from None

    def read_model(self) -> Model:
        """The trained model; `InputError` if there is none, or a damaged one."""
        if not self.model.exists():
            raise InputError(f"{self.model} does not exist; a finished run has one")
        return Model.load(self.model)


def _next_free(data_name: str) -> Path:
    for k in itertools.count(1):
        path = DEFAULT_PARENT / f"{data_name}-{k}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not path.is_dir():
                raise
            continue
        return path
    raise AssertionError("unreachable")
