"""The first table of docs/benchmarks.md: summaries of whole runs of ``fastbcd train``.

    python benchmarks/results.py [--mnist FOLDER] [--only NAME]

Digits take seconds; the MNIST rows need the folder of its IDX files, and about
half an hour together on two cores.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

PUBLISHED = (
    "--batch-size full --hidden 1500,1500,1500 --init normal:0.01 --bias 0.1 --gamma 1 --alpha 5 "
    "--weight-penalty none --reduction sum --preprocess unit --seed 40 --acceleration none"
)
# name -> (needs MNIST, options)
RUNS = {
    "digits, defaults": (False, ""),
    "digits, full batches": (False, "--batch-size full"),
    "digits, full batches, plain, depth 3": (
        False,
        "--batch-size full --hidden 64,64,64 --epochs 100",
    ),
    "digits, full batches, residual, depth 20": (
        False,
        f"--batch-size full --algorithm resnet --hidden {','.join(['64'] * 20)} --epochs 100",
    ),
    "MNIST, defaults": (True, ""),
    "MNIST, full batches, no acceleration": (True, "--batch-size full --acceleration none"),
    "MNIST, published setting": (True, PUBLISHED),
}
HEADER = (
    "run", "network", "iterations", "s / iteration", "train accuracy", "test accuracy",
    "objective, first and last", "largest rise",
)  # fmt: skip


def train(data: list[str], options: str) -> tuple[dict, list[dict]]:
    """Summary and history of one run in a temporary folder."""
    with tempfile.TemporaryDirectory() as parent:
        out = Path(parent) / "run"
        command = [sys.executable, "-m", "fastbcd.cli.main", "train", *data, *options.split()]
        subprocess.run([*command, "--out", str(out)], check=True, stdout=sys.stderr)
        with (out / "history.csv").open(newline="") as file:
            history = list(csv.DictReader(file))
        return json.loads((out / "summary.json").read_text()), history


def short(widths: list[int]) -> str:
    """``64-512x2-10`` for 64, 512, 512, 10."""
    groups = [(width, len(list(group))) for width, group in itertools.groupby(widths[1:-1])]
    hidden = [f"{width}x{count}" if count > 1 else str(width) for width, count in groups]
    return "-".join([str(widths[0]), *hidden, str(widths[-1])])


def row(name: str, summary: dict, history: list[dict]) -> list[str]:
    """One line of the table."""
    F = [float(record["objective"]) for record in history]
    rise = max(max(new - old, 0.0) / old for old, new in itertools.pairwise(F))
    # The first iteration may compile; the others are steps alone.
    seconds = (summary["seconds"] - float(history[0]["seconds"])) / (len(history) - 1)
    return [
        name,
        short(summary["widths"]),
        str(summary["iterations"]),
        f"{seconds:.3g}",
        f"{summary['train_accuracy']:.4f}",
        f"{summary['test_accuracy']:.4f}",
        f"{F[0]:.4g}, {F[-1]:.4g}",
        f"{rise:.1g}",
    ]


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's four IDX files")
    parser.add_argument("--only", choices=list(RUNS), help="one row")
    options = parser.parse_args()
    print("| " + " | ".join(HEADER) + " |")
    print("|" + "---|" * len(HEADER))
    for name, (needs_mnist, arguments) in RUNS.items():
        if (options.only and name != options.only) or (needs_mnist and not options.mnist):
            continue
        summary, history = train([options.mnist] if needs_mnist else [], arguments)
        print("| " + " | ".join(row(name, summary, history)) + " |", flush=True)


if __name__ == "__main__":
    main()
