"""All measurements of a GPU, in one call of a few minutes.

    python benchmarks/gpu --out FOLDER [--mnist FOLDER] [--parts NAME,NAME ...] [--minutes M]

Parts run one after the other, each in a process of its own with a limit of its own, and go on
after one that fails: a smoke test, the tests of the GPU, products, elementwise kernels, an
iteration, mini-batches, where time goes, the rows of the asv suite, the race against PyTorch, the
processor's threads. Each
leaves ``NAME.log`` and ``NAME.json`` in the folder, written as it goes: what has been measured
stays when the rest is cut. The package need not be installed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Seconds that a part may take.
LIMITS = {
    "smoke": 120,
    "tests": 240,
    "products": 60,
    "elementwise": 120,
    "iteration": 120,
    "batches": 120,
    "timeline": 90,
    "rows": 120,
    "race": 200,
    "processors": 150,
}
WITH_DATA = ("iteration", "batches", "timeline", "race", "processors")


def command(part: str, out: Path, mnist: str | None, workers: int) -> list[str] | None:
    """The command that runs a part; None if the part needs MNIST and there is none."""
    if part == "tests":
        return [
            *(sys.executable, "-m", "pytest", "-m", "gpu", "tests/gpu", "-q", "-ra"),
            *(
                "-n",
                str(workers),
                "-p",
                "no:cacheprovider",
                "-p",
                "no:benchmark",
                "--durations=15",
                "--tb=short",
            ),
        ]
    if part == "race" and mnist is None:
        return None
    data = [mnist] if part in WITH_DATA and mnist else []
    return [sys.executable, str(HERE / f"{part}.py"), str(out / f"{part}.json"), *data]


def main() -> int:
    """Run the parts; 1 where one failed."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the results")
    parser.add_argument("--mnist", metavar="FOLDER", help="MNIST's IDX files")
    parser.add_argument("--parts", default=",".join(LIMITS), help=f"default: {','.join(LIMITS)}")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts; default: 9")
    parser.add_argument("--workers", type=int, default=8, help="of the tests; default: 8")
    options = parser.parse_args()
    parts = options.parts.split(",")
    unknown = [part for part in parts if part not in LIMITS]
    if unknown:
        parser.error(f"--parts: {unknown[0]!r} is none of {', '.join(LIMITS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    mnist = str(Path(options.mnist).expanduser().resolve()) if options.mnist else None
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment["PYTHONUNBUFFERED"] = "1"
    end, failed = time.monotonic() + 60 * options.minutes, 0
    for part in parts:
        run = command(part, options.out, mnist, options.workers)
        limit = min(LIMITS[part], end - time.monotonic())
        if run is None or limit < 5:
            print(
                f"{part}: left out, {'no time is left' if run else 'it needs --mnist'}", flush=True
            )
            failed = 1
            continue
        begin = time.monotonic()
        with (options.out / f"{part}.log").open("w") as log:
            try:
                status = subprocess.run(
                    run,
                    cwd=ROOT,
                    env=environment,
                    stdout=log,
                    stderr=log,
                    timeout=limit,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                status = -1
        failed |= status != 0
        outcome = {0: "done", -1: f"cut after {limit:.0f} s"}.get(status, f"status {status}")
        print(f"{part}: {outcome}, {time.monotonic() - begin:.0f} s", flush=True)
        if status:
            print(
                "\n".join((options.out / f"{part}.log").read_text().splitlines()[-6:]), flush=True
            )
    return failed


if __name__ == "__main__":
    sys.exit(main())
