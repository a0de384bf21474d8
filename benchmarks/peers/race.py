"""Mini-batch BCD against other optimisers: accuracy after K passes, medians and ranges of seeds.

    python benchmarks/peers/race.py --mnist FOLDER --out FILE.json [--passes K] [--seeds N]
        [--networks D1,D2 ...] [--methods NAME ...] [--bf16 NAME ...]
    python benchmarks/peers/race.py --mnist FOLDER --tune [--passes K] [--networks D1,D2 ...]
        [--methods NAME ...]

`targets.py` compares the seconds to an accuracy. Here all follow a schedule over K passes;
schedule-free AdamW has means of its weights in its place. SOAP and Shampoo need ``pip install
pytorch_optimizer``, schedule-free AdamW ``schedulefree``. Methods take turns, each in a process of
its own with all cores; the clock counts training, not compilation or imports. Those of ``--bf16``
race a second time with factors rounded to bfloat16. ``--out`` receives each run as it ends; runs
that it holds already, of this very code, are not made again, so an interrupted race goes on where
it was.
``--tune`` tries the six settings of each method's `GRIDS` on the first 50,000 training samples,
prints the accuracy on the last 10,000, and reads no test set; the winners stand in `TUNED`.
"""

from __future__ import annotations

import argparse
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
from methods import packages
from mnist import without_test_set
from process import Job, stream
from report import machine
from runs import shown, spread

import fastbcd

NETWORKS = ((500, 500), (1500, 1500, 1500), (600,) * 10)
OUTPUT_METRIC = {"output_rank": 16, "damping": 2.0, "weight_decay": 0.005, "schedule": "linear"}


def grid(
    batches: tuple[int, int], step: str, sizes: tuple[float, ...], **fixed: Any
) -> list[dict[str, Any]]:
    """All pairs of a batch size and a `step`, which is a rate or a step size."""
    return [{"batch": batch, step: size, **fixed} for batch in batches for size in sizes]


GRIDS: dict[str, list[dict[str, Any]]] = {
    "mini-batch": grid((125, 250), "step_size", (0.1, 0.2, 0.4), **OUTPUT_METRIC),
    "muon": grid((128, 512), "rate", (0.02, 0.05, 0.1), schedule="linear"),
    "adam": grid((128, 512), "rate", (3e-4, 1e-3, 3e-3)),
    "sgd": grid((128, 512), "rate", (0.03, 0.1, 0.2), schedule="one-cycle"),
    "soap": grid((128, 512), "rate", (1e-3, 3e-3, 6e-3), schedule="linear"),
    "shampoo": grid((128, 512), "rate", (0.03, 0.1, 0.3), schedule="linear"),
    "schedule-free": grid((128, 512), "rate", (1e-3, 3e-3, 6e-3), schedule="constant"),
}
# Winners of ``--tune`` by method, network and passes. Held-out accuracy of Adam for the rates 3e-4,
# 1e-3, 3e-3:
#                    batch 128                   batch 512
#     500x2,  5:  0.9725  0.9800  0.9825      0.9628  0.9749  0.9800
#     500x2, 10:  0.9791  0.9830  0.9838      0.9727  0.9791  0.9819
#     1500x3, 5:  0.9812  0.9838  0.9821      0.9768  0.9807  0.9813
#     1500x3, 10: 0.9826  0.9840  0.9808      0.9791  0.9827  0.9820
#     600x10, 5:  0.9809  0.9820  0.9774      0.9760  0.9772  0.9748
#     600x10, 10: 0.9820  0.9819  0.9799      0.9790  0.9800  0.9787
# Of all methods on 500x2 after 2 and 3 passes:
#     mini-batch, batch 125, step size 0.1, 0.2, 0.4:  0.9836 0.9846 0.9838,  0.9850 0.9864 0.9859
#                       250                            0.9797 0.9825 0.9837,  0.9827 0.9846 0.9849
#     muon, batch 128, rate 0.02, 0.05, 0.1:           0.9842 0.9816 0.9756,  0.9846 0.9792 0.9758
#                 512                                  0.9757 0.9816 0.9811,  0.9815 0.9824 0.9781
#     adam, batch 128, rate 3e-4, 1e-3, 3e-3:          0.9612 0.9745 0.9794,  0.9680 0.9785 0.9819
#                 512                                  0.9392 0.9620 0.9717,  0.9509 0.9682 0.9764
# The others on 500x2 after 2 passes; SGD's 0.4 and schedule-free AdamW's 0.012 are beyond an edge:
#     sgd, batch 128, rate 0.03, 0.1, 0.2, 0.4:             0.9637 0.9751 0.9783 0.9761
#          512                                              0.9325 0.9594 0.9697 0.9719
#     soap, batch 128, rate 1e-3, 3e-3, 6e-3:               0.9764 0.9835 0.9836
#           512                                             0.9444 0.9778 0.9821
#     shampoo, batch 128, rate 0.03, 0.1, 0.3:              0.9736 0.9797 0.9802
#              512                                          0.9429 0.9652 0.9726
#     schedule-free, batch 128, rate 1e-3 to 6e-3, 0.012:   0.9745 0.9801 0.9806 0.9803
#                    512                                    0.9639 0.9749 0.9783
# After one pass; of the settings with at least 0.976, the fastest one is taken, or else the best.
#     mini-batch, batch 125, step size 0.1, 0.2, 0.4:  0.9789 0.9827 0.9819
#                       250, and 0.8:                  0.9718 0.9778 0.9800 0.9818
#     muon, batch 128, rate 0.02, 0.05, 0.1:           0.9797 0.9797 0.9732
#           512                                        0.9510 0.9709 0.9751
#     sgd, batch 128, rate 0.03, 0.1, 0.2, 0.4:        0.9509 0.9701 0.9743 0.9732
#          512, rate 0.03, 0.1, 0.2:                   0.9129 0.9425 0.9574
#     schedule-free, batch 128, rate 1e-3 to 0.012:    0.9658 0.9747 0.9764 0.9774
#                    512                               0.9504 0.9657 0.9696
#     adam, batch 128, rate 3e-4, 1e-3, 3e-3, 6e-3:    0.9456 0.9656 0.9739 0.9738
#           512                                        0.9122 0.9465 0.9611
TUNED: dict[tuple[str, tuple[int, ...], int], dict[str, Any]] = {
    ("mini-batch", (500,) * 2, 1): {"batch": 250, "step_size": 0.8, **OUTPUT_METRIC},
    ("muon", (500,) * 2, 1): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("adam", (500,) * 2, 1): {"rate": 3e-3, "batch": 128},
    ("sgd", (500,) * 2, 1): {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    ("schedule-free", (500,) * 2, 1): {"rate": 0.012, "batch": 128, "schedule": "constant"},
    ("mini-batch", (500,) * 2, 2): {"batch": 125, "step_size": 0.2, **OUTPUT_METRIC},
    ("mini-batch", (500,) * 2, 3): {"batch": 125, "step_size": 0.2, **OUTPUT_METRIC},
    ("muon", (500,) * 2, 2): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("muon", (500,) * 2, 3): {"rate": 0.02, "batch": 128, "schedule": "linear"},
    ("adam", (500,) * 2, 2): {"rate": 3e-3, "batch": 128},
    ("adam", (500,) * 2, 3): {"rate": 3e-3, "batch": 128},
    ("sgd", (500,) * 2, 2): {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    ("soap", (500,) * 2, 2): {"rate": 6e-3, "batch": 128, "schedule": "linear"},
    ("shampoo", (500,) * 2, 2): {"rate": 0.3, "batch": 128, "schedule": "linear"},
    ("schedule-free", (500,) * 2, 2): {"rate": 6e-3, "batch": 128, "schedule": "constant"},
    ("adam", (500,) * 2, 5): {"rate": 3e-3, "batch": 128},
    ("adam", (500,) * 2, 10): {"rate": 3e-3, "batch": 128},
    ("adam", (1500,) * 3, 5): {"rate": 1e-3, "batch": 128},
    ("adam", (1500,) * 3, 10): {"rate": 1e-3, "batch": 128},
    ("adam", (600,) * 10, 5): {"rate": 1e-3, "batch": 128},
    ("adam", (600,) * 10, 10): {"rate": 3e-4, "batch": 128},
}
# Networks and passes that were not tuned; {} is the rule of this package, in batches of 500.
DEFAULT: dict[str, dict[str, Any]] = {
    "mini-batch": {},
    "muon": {"rate": 0.02, "batch": 128, "schedule": "linear"},
    "adam": {"rate": 1e-3, "batch": 128},
    "sgd": {"rate": 0.2, "batch": 128, "schedule": "one-cycle"},
    "soap": {"rate": 6e-3, "batch": 128, "schedule": "linear"},
    "shampoo": {"rate": 0.3, "batch": 128, "schedule": "linear"},
    "schedule-free": {"rate": 6e-3, "batch": 128, "schedule": "constant"},
}
ROUNDED = ", bf16"


def main() -> None:
    """Tune, or race and print the table."""
    parser = Parser("benchmarks/peers/race.py", __doc__)
    parser.add_argument("--mnist", metavar="FOLDER", required=True, help="MNIST's IDX files")
    parser.add_argument("--passes", type=count, default=10, metavar="K", help="default: 10")
    parser.add_argument("--seeds", type=count, default=5, metavar="N", help="default: 5")
    parser.add_argument("--networks", type=widths, nargs="+", default=NETWORKS, metavar="D1,D2")
    parser.add_argument("--methods", nargs="+", choices=list(GRIDS), metavar="NAME",
                        default=["mini-batch", "muon", "adam"],
                        help=f"of {', '.join(GRIDS)} (default: the first three)")  # fmt: skip
    parser.add_argument("--bf16", nargs="+", choices=list(GRIDS), default=[], metavar="NAME",
                        help="methods that race in bfloat16, too")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="for all passes")
    parser.add_argument("--tune", action="store_true", help="each method's settings")
    options = parser.parse_args()
    parser.check_packages(packages([*options.methods, *options.bf16]), "--methods")
    samples = parser.samples(options.mnist)
    with tempfile.TemporaryDirectory() as folder:
        (without_test_set(samples) if options.tune else samples).save(Path(folder))
        del samples
        for network in options.networks:
            if options.tune:
                tune(folder, network, options)
            else:
                race(folder, network, options)


def tune(folder: str, network: tuple[int, ...], options: argparse.Namespace) -> None:
    """Held-out accuracy of every candidate."""
    for name in options.methods:
        for candidate in GRIDS[name]:
            settings = {**candidate, "passes": options.passes}
            *_, last = stream(Job(name, folder, network, math.inf, options.passes, settings))
            print(
                f"{name_of(network)}, {name}, {shown(settings)}: "
                f"{last['test_accuracy']:.4f} after {last['seconds']:.1f} s",
                flush=True,
            )


def race(folder: str, network: tuple[int, ...], options: argparse.Namespace) -> None:
    """Runs of all methods, then their table."""
    out, passes, seeds = options.out, options.passes, options.seeds
    held = json.loads(out.read_text()) if out and out.exists() else {}

    def settings(name: str) -> dict[str, Any]:
        return {**TUNED.get((name, network, passes), DEFAULT[name]), "passes": passes}

    methods = {name: settings(name) for name in options.methods}
    for name in options.bf16:
        methods[name + ROUNDED] = {**settings(name), **rounded(name)}
    runs: dict[str, list[Any]] = {name: [] for name in methods}
    first: dict[str, Any] = {}
    for seed, (label, chosen) in itertools.product(range(seeds), methods.items()):
        name = bare(label)
        key = f"{name_of(network)} {name} {json.dumps(chosen, sort_keys=True)} {seed}"
        if name == "mini-batch":
            key += f" {digest_of_code()}"
        if key not in held:
            job = Job(name, folder, network, math.inf, passes, {**chosen, "seed": seed})
            lines = stream(job)
            held[key] = {**next(lines), "passes": list(lines)}
            if out:
                out.write_text(json.dumps(held, indent=1) + "\n")
        runs[label].append(held[key]["passes"])
        first[label] = held[key]
    unit = "pass" if passes == 1 else "passes"
    print(f"784-{name_of(network)}-10, {passes} {unit}, {seeds} seeds\n")
    print("| method | s / pass | test accuracy after 1, 2, 3 passes | at the end |")
    print("|---|---|---|---|")
    for name, of_seeds in runs.items():
        early = (median(r[k]["test_accuracy"] for r in of_seeds) for k in range(min(3, passes)))
        cells = [
            name,
            spread([record["pass_seconds"] for r in of_seeds for record in r[1:] or r], "{:.3g}"),
            ", ".join(f"{100 * accuracy:.2f}" for accuracy in early),
            spread([100 * r[-1]["test_accuracy"] for r in of_seeds], "{:.2f}"),
        ]
        print("| " + " | ".join(cells) + " |")
    for name, chosen in methods.items():
        print(f"\n{name}: {shown(chosen)}")
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


def name_of(network: tuple[int, ...]) -> str:
    """``500-500``, ``600x10``."""
    if len(network) > 1 and len(set(network)) == 1:
        return f"{network[0]}x{len(network)}"
    return "-".join(map(str, network))


if __name__ == "__main__":
    main()
