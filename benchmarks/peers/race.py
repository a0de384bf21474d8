"""Mini-batch BCD against other optimisers: accuracy after K passes, medians and ranges of seeds.

    python benchmarks/peers/race.py (--mnist FOLDER | --cifar FOLDER) [--out FILE.json]
        [--passes K] [--seeds N] [--networks D1,D2 ...] [--methods NAME ...] [--bf16 NAME ...]
        [--crop P]
    python benchmarks/peers/race.py (--mnist FOLDER | --cifar FOLDER) --tune [--out FILE.json]
        [--passes K] [--networks D1,D2 ...] [--methods NAME ...] [--crop P]

FOLDER holds MNIST's IDX files or CIFAR-10. `targets.py` compares the seconds to an accuracy. Here
all follow a schedule over K passes; schedule-free AdamW has means of its weights in its place.
SOAP and Shampoo need ``pip install pytorch_optimizer``, schedule-free AdamW ``schedulefree``.
Methods take turns, each in a process of its own with all cores; the clock counts training, not
compilation or imports. Those of ``--bf16`` race a second time with factors rounded to bfloat16.
With ``--crop`` all methods shift the images of a batch at random by up to P pixels; a race has the
settings that were found without. The column "s" counts all seconds of a run, "s / pass" each pass
but the first.
``--out`` receives each run as it ends; runs that it holds already, of this very code, are not made
again, so an interrupted race goes on where it was; "this code" is fastbcd's.

``--tune`` reads no test set: it trains on the first five sixths of the training samples and
measures on the last sixth. It tries six settings of each method. While the best one has the
smallest or the largest rate that was tried with its batch size, it tries one further rate, twice at
most (`BEYOND`). The best setting wins, unless a larger batch size, which is faster, has at most
0.002 less accuracy (`CLOSE`). Winners stand in `TUNED` of `race_settings.py`. With ``--out`` it
goes on where it was, too. ``--seeds`` and ``--bf16`` are for the race alone.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from arguments import Parser, count, widths
from methods import packages
from mnist import without_test_set
from process import Job, stream
from race_settings import BEYOND, DEFAULT, NETWORKS, TUNED, beyond, choice, grids_of
from report import machine
from runs import shown, spread

import fastbcd

ROUNDED = ", bf16"


def main() -> None:
    """Tune, or race and print the table."""
    parser = Parser("benchmarks/peers/race.py", __doc__)
    parser.add_data()
    parser.add_argument("--passes", type=count, default=10, metavar="K", help="default: 10")
    parser.add_argument("--seeds", type=count, default=5, metavar="N", help="default: 5")
    parser.add_argument("--networks", type=widths, nargs="+", metavar="D1,D2",
                        help="hidden layers (default: three for MNIST, one for CIFAR)")  # fmt: skip
    parser.add_argument("--methods", nargs="+", choices=list(DEFAULT), metavar="NAME",
                        default=["mini-batch", "muon", "adam"],
                        help=f"of {', '.join(DEFAULT)} (default: the first three)")  # fmt: skip
    parser.add_argument("--bf16", nargs="+", choices=list(DEFAULT), default=[], metavar="NAME",
                        help="methods that race in bfloat16, too")  # fmt: skip
    parser.add_argument("--crop", type=count, default=0, metavar="P",
                        help="shift images by up to P pixels (default: no shifts)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="for all passes")
    parser.add_argument("--tune", action="store_true", help="each method's settings")
    options = parser.parse_args()
    parser.check_packages(packages(options.methods), "--methods")
    parser.check_packages(packages(options.bf16), "--bf16")
    parser.check_file(options.out)
    samples = parser.chosen_samples(options)
    ends, side = (samples.X.shape[1], samples.n_classes), samples.image_shape[0]
    if options.crop >= side:
        parser.error(f"--crop: {options.crop} pixels leave nothing of {side} rows")
    with tempfile.TemporaryDirectory() as folder:
        (without_test_set(samples) if options.tune else samples).save(Path(folder))
        del samples
        for hidden in options.networks or NETWORKS["cifar" if options.cifar else "mnist"]:
            name = name_of(ends[0], hidden, ends[1])
            (tune if options.tune else race)(folder, hidden, name, options)


def tune(folder: str, hidden: tuple[int, ...], network: str, options: argparse.Namespace) -> None:
    """Print the held-out accuracy of every trial, and the best of each method."""
    held = Held(options.out)
    for name in options.methods:

        def trial(settings: dict[str, Any], name: str = name) -> float:
            job = Job(name, folder, hidden, math.inf, options.passes, settings)
            label = f"{network}, {name}, {shown(settings)}"
            try:
                run = held.run(f"{network} {name} {json.dumps(settings)}", job)
            except RuntimeError as problem:  # it may have diverged
                print(f"{label}: {problem}", flush=True)
                return 0.0
            last = run["passes"][-1]
            accuracy = last["test_accuracy"]
            print(f"{label}: {accuracy:.4f} after {last['seconds']:.1f} s", flush=True)
            return accuracy

        best = tuned(grids_of(name, network), trial, fixed(options))
        print(f"{network}, {name}, best: {shown(best)}", flush=True)


def fixed(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that are not tuned."""
    crop = {"crop": options.crop} if options.crop else {}
    return {"passes": options.passes, **crop}


def tuned(
    candidates: list[dict[str, Any]],
    trial: Callable[[dict[str, Any]], float],
    fixed: dict[str, Any],
) -> dict[str, Any]:
    """Return the choice of the candidates, and of at most `BEYOND` further ones beyond an edge."""
    first = ({**settings, **fixed} for settings in candidates)
    tried = [(settings, trial(settings)) for settings in first]
    for _ in range(BEYOND):
        best, _ = max(tried, key=lambda one: one[1])
        further = beyond(best, [settings for settings, _ in tried])
        if further is None:
            break
        tried.append((further, trial(further)))
    return choice(tried)


class Held:
    """Runs by name, as the file of ``--out`` keeps them."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs = json.loads(path.read_text()) if path and path.exists() else {}

    def run(self, key: str, job: Job) -> dict[str, Any]:
        """Return the run of this name, and make it where it is not there."""
        if job.method == "mini-batch":
            key += f" {digest_of_code()}"
        if key not in self._runs:
            lines = stream(job)
            self._runs[key] = {**next(lines), "passes": list(lines)}
            if self._path:  # an interruption leaves the old file or the new one
                new = self._path.with_name(self._path.name + ".new")
                new.write_text(json.dumps(self._runs, indent=1) + "\n")
                new.replace(self._path)
        return self._runs[key]


def race(folder: str, hidden: tuple[int, ...], network: str, options: argparse.Namespace) -> None:
    """Runs of all methods, then their table."""
    held, passes, seeds = Held(options.out), options.passes, options.seeds

    def settings(name: str) -> dict[str, Any]:
        return {**TUNED.get((name, network, passes), DEFAULT[name]), **fixed(options)}

    methods = {name: settings(name) for name in options.methods}
    for name in options.bf16:
        methods[name + ROUNDED] = {**settings(name), **rounded(name)}
    runs: dict[str, list[Any]] = {name: [] for name in methods}
    first: dict[str, Any] = {}
    for seed, (label, chosen) in itertools.product(range(seeds), methods.items()):
        name = bare(label)
        key = f"{network} {name} {json.dumps(chosen, sort_keys=True)} {seed}"
        job = Job(name, folder, hidden, math.inf, passes, {**chosen, "seed": seed})
        first[label] = held.run(key, job)
        runs[label].append(first[label]["passes"])
    unit = "pass" if passes == 1 else "passes"
    print(f"{network}, {passes} {unit}, {seeds} seeds\n")
    print("| method | s / pass | s | test accuracy after 1, 2, 3 passes | at the end |")
    print("|---|---|---|---|---|")
    for name, of_seeds in runs.items():
        early = (median(r[k]["test_accuracy"] for r in of_seeds) for k in range(min(3, passes)))
        cells = [
            name,
            spread([record["pass_seconds"] for r in of_seeds for record in r[1:] or r], "{:.3g}"),
            spread([r[-1]["seconds"] for r in of_seeds], "{:.3g}"),
            ", ".join(f"{100 * accuracy:.2f}" for accuracy in early),
            spread([100 * r[-1]["test_accuracy"] for r in of_seeds], "{:.2f}"),
        ]
        print("| " + " | ".join(cells) + " |")
    for label, chosen in methods.items():
        tuned_for_it = (bare(label), network, passes) in TUNED
        print(f"\n{label}: {shown(chosen)}" + ("" if tuned_for_it else " (not tuned for it)"))
    print(f"\n{machine(first)}\n", flush=True)


def bare(label: str) -> str:
    """Return the name of the method of a line."""
    return label.removesuffix(ROUNDED)


def rounded(name: str) -> dict[str, Any]:
    """Settings with which a method rounds the factors of its products to bfloat16."""
    return {"precision": "bf16"} if name == "mini-batch" else {"autocast": True}


@cache
def digest_of_code() -> str:
    """Digest of all our sources, because runs of other code are other runs."""
    root = Path(fastbcd.__file__).parent
    sources = sorted({*root.rglob("*.py"), *(root / "kernels").rglob("*.py")})
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def name_of(inputs: int, hidden: tuple[int, ...], classes: int) -> str:
    """Return ``784-500x2-10``, or ``784-500-300-10`` for layers of several widths."""
    alike = len(hidden) > 1 and len(set(hidden)) == 1
    middle = f"{hidden[0]}x{len(hidden)}" if alike else "-".join(map(str, hidden))
    return f"{inputs}-{middle}-{classes}"


if __name__ == "__main__":
    main()
