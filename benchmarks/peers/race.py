"""Mini-batch BCD against Adam: time and accuracy on MNIST over seeds, medians and spread.

    python benchmarks/peers/race.py --mnist FOLDER --out FILE.json [--passes K] [--seeds N]
        [--networks D1,D2 ...]
    python benchmarks/peers/race.py --mnist FOLDER --tune [--passes K] [--networks D1,D2 ...]

Both follow a cosine schedule over K passes. Methods take turns, each in a process of its own with
all cores; the clock counts training. ``--out`` receives each run as it ends; runs that it holds
already, of this very code, are not made again, so an interrupted race goes on where it was.
``--tune`` tries Adam's rates and batch sizes on the first 50,000 training samples, prints the
accuracy on the last 10,000, and reads no test set; the winners stand in `ADAM`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from arguments import Parser, count, widths
from mnist import without_test_set
from process import Job, stream
from report import machine

import fastbcd

NETWORKS = ((500, 500), (1500, 1500, 1500), (600,) * 10)
RATES, BATCHES = (3e-4, 1e-3, 3e-3), (128, 512)
# Winners of ``--tune`` by network and passes; held-out accuracy, rates 3e-4, 1e-3, 3e-3:
#                    batch 128                   batch 512
#     500x2,  5:  0.9725  0.9800  0.9825      0.9628  0.9749  0.9800
#     500x2, 10:  0.9791  0.9830  0.9838      0.9727  0.9791  0.9819
#     1500x3, 5:  0.9812  0.9838  0.9821      0.9768  0.9807  0.9813
#     1500x3, 10: 0.9826  0.9840  0.9808      0.9791  0.9827  0.9820
#     600x10, 5:  0.9809  0.9820  0.9774      0.9760  0.9772  0.9748
#     600x10, 10: 0.9820  0.9819  0.9799      0.9790  0.9800  0.9787
ADAM: dict[tuple[tuple[int, ...], int], dict[str, Any]] = {
    ((500,) * 2, 5): {"rate": 3e-3, "batch": 128},
    ((500,) * 2, 10): {"rate": 3e-3, "batch": 128},
    ((1500,) * 3, 5): {"rate": 1e-3, "batch": 128},
    ((1500,) * 3, 10): {"rate": 1e-3, "batch": 128},
    ((600,) * 10, 5): {"rate": 1e-3, "batch": 128},
    ((600,) * 10, 10): {"rate": 3e-4, "batch": 128},
}
# Networks and passes that were not tuned.
DEFAULT = {"rate": 1e-3, "batch": 128}
MARKS = (0.975, 0.98)


def main() -> None:
    """Tune, or race and print the table."""
    parser = Parser("benchmarks/peers/race.py", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", required=True, help="MNIST's IDX files")
    parser.add_argument("--passes", type=count, default=10, metavar="K", help="default: 10")
    parser.add_argument("--seeds", type=count, default=5, metavar="N", help="default: 5")
    parser.add_argument("--networks", type=widths, nargs="+", default=NETWORKS, metavar="D1,D2")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="for all passes")
    parser.add_argument("--tune", action="store_true", help="Adam's rate and batch size")
    options = parser.parse_args()
    samples = parser.samples(options.mnist)
    with tempfile.TemporaryDirectory() as folder:
        (without_test_set(samples) if options.tune else samples).save(Path(folder))
        del samples
        for network in options.networks:
            if options.tune:
                tune(folder, network, options.passes)
            else:
                race(folder, network, options.passes, options.seeds, options.out)


def tune(folder: str, network: tuple[int, ...], passes: int) -> None:
    """Held-out accuracy of every candidate."""
    for rate, batch in itertools.product(RATES, BATCHES):
        settings = {"rate": rate, "batch": batch, "passes": passes}
        *_, last = stream(Job("adam", folder, network, math.inf, passes, settings))
        print(
            f"{name_of(network)}, rate {rate:g}, batch {batch}: "
            f"{last['test_accuracy']:.4f} after {last['seconds']:.0f} s",
            flush=True,
        )


def race(folder: str, network: tuple[int, ...], passes: int, seeds: int, out: Path | None) -> None:
    """Runs of both methods, then their table."""
    held = json.loads(out.read_text()) if out and out.exists() else {}
    adam = {**ADAM.get((network, passes), DEFAULT), "passes": passes}
    methods = {"mini-batch": {"passes": passes}, "adam": adam}
    runs: dict[str, list[Any]] = {name: [] for name in methods}
    first: dict[str, Any] = {}
    for seed, (name, settings) in itertools.product(range(seeds), methods.items()):
        key = f"{name_of(network)} {name} {json.dumps(settings, sort_keys=True)} {seed}"
        if name == "mini-batch":
            key += f" {digest_of_code()}"
        if key not in held:
            job = Job(name, folder, network, math.inf, passes, {**settings, "seed": seed})
            lines = stream(job)
            held[key] = {**next(lines), "passes": list(lines)}
            if out:
                out.write_text(json.dumps(held, indent=1) + "\n")
        runs[name].append(held[key]["passes"])
        first[name] = held[key]
    print(f"784-{name_of(network)}-10, {passes} passes, {seeds} seeds; Adam: {adam}\n")
    print("| method | s / pass | " + " | ".join(f"s to {mark:.1%}" for mark in MARKS)
          + " | test accuracy after 1, 2, 3 passes | at the end |")  # fmt: skip
    print("|---|---|" + "---|" * (len(MARKS) + 2))
    for name, of_seeds in runs.items():
        early = (median(r[k]["test_accuracy"] for r in of_seeds) for k in range(min(3, passes)))
        cells = [
            name,
            spread([record["pass_seconds"] for r in of_seeds for record in r[1:]], "{:.3g}"),
            *(spread([time_to(r, mark) for r in of_seeds], "{:.3g}") for mark in MARKS),
            ", ".join(f"{100 * accuracy:.2f}" for accuracy in early),
            spread([100 * r[-1]["test_accuracy"] for r in of_seeds], "{:.2f}"),
        ]
        print("| " + " | ".join(cells) + " |")
    print(f"\n{machine(first)}\n", flush=True)


@cache
def digest_of_code() -> str:
    """Digest of all our sources, because runs of other code are other runs."""
    root = Path(fastbcd.__file__).parent
    sources = sorted({*root.rglob("*.py"), *(root / "kernels").rglob("*.py")})
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def time_to(records: list[dict[str, Any]], mark: float) -> float:
    """Training seconds up to the end of the first pass that reaches `mark`."""
    reached = (r["seconds"] for r in records if r["test_accuracy"] >= mark)
    return next(reached, math.inf)


def spread(values: list[float], form: str) -> str:
    """Median, smallest and largest."""
    if not values or median(values) == math.inf:
        return "-"
    middle, low, high = (form.format(f(values)) for f in (median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def name_of(network: tuple[int, ...]) -> str:
    """``500-500``, ``600x10``."""
    if len(network) > 1 and len(set(network)) == 1:
        return f"{network[0]}x{len(network)}"
    return "-".join(map(str, network))


if __name__ == "__main__":
    main()
