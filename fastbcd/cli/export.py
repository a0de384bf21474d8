"""``fastbcd export``: write a trained model for PyTorch or ONNX."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastbcd.cli.output import new_file, writing
from fastbcd.cli.parser import user_path
from fastbcd.cli.run_folder import RunFolder
from fastbcd.errors import InputError
from fastbcd.export import onnx_model, torch_source, torch_state
from fastbcd.export.support import input_dtype, library
from fastbcd.files.atomic import replacing, write_atomically
from fastbcd.models.model import Model
from fastbcd.support.parameters import DTYPES


def add_command(commands: Any) -> None:
    """Add ``export`` and its options to the command line."""
    parser = commands.add_parser(
        "export",
        help="write a trained network for PyTorch or ONNX",
        description=(
            "Write the model of a run for another library. torch: the state of a "
            "torch.nn.Sequential, and a Python file that builds it. onnx: a graph that leads from "
            "raw inputs to outputs, probabilities and label."
        ),
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    folder = "a folder that fastbcd train wrote, or a model file"
    add("folder", type=user_path, metavar="DIR", help=folder)
    add("--to", choices=list(WRITERS), required=True, help="library to write for")
    new = "new file; default: model.pt or model.onnx in DIR"
    add("--out", type=user_path, metavar="FILE", help=new)
    add("--dtype", choices=DTYPES, help="type of the inputs; default: float32 where that suffices")


def run(options: argparse.Namespace) -> None:
    """Read the model, convert it, write the new files, and print which inputs they take."""
    given = Path(options.folder)
    model = Model.load(given) if given.is_file() else RunFolder(given).read_model()
    folder = given.parent if given.is_file() else given
    library(options.to)
    suffix, write = WRITERS[options.to]
    path = folder / f"model{suffix}" if options.out is None else Path(options.out)
    for new in {path, path.with_suffix(".py")} if options.to == "torch" else {path}:
        new_file(new)
    with writing(path):
        content = write(model, path, options.dtype)
    d, dtype = model.network.widths[0], input_dtype(model, options.dtype)
    taken = f"raw inputs (n, {d}) in {dtype}"
    if model.table is not None:
        taken = f"inputs (n, {d}) in {dtype} that Model.table makes of the columns of a table"
    print(f"{path}: {content}; takes {taken}")


def _write_torch(model: Model, path: Path, dtype: str | None) -> str:
    torch, source = library("torch"), path.with_suffix(".py")
    if source == path:
        raise InputError(f"--out: {path} is for the state; name it .pt, the .py comes beside it")
    state, text = torch_state(model, dtype), torch_source(model, dtype)
    with replacing(path) as temporary, temporary.open("wb") as file:
        torch.save(state, file)
    write_atomically(source, text.encode())
    return f"state of the torch.nn.Sequential that {source} builds"


def _write_onnx(model: Model, path: Path, dtype: str | None) -> str:
    graph = onnx_model(model, dtype)
    write_atomically(path, graph.SerializeToString(deterministic=True))
    return "X -> " + ", ".join(output.name for output in graph.graph.output)


Writer = Callable[[Model, Path, str | None], str]
WRITERS: dict[str, tuple[str, Writer]] = {
    "torch": (".pt", _write_torch),
    "onnx": (".onnx", _write_onnx),
}
