"""Learning rates and batch sizes of the peers, chosen on training samples held out.

    python benchmarks/peers/tune.py --mnist FOLDER [--only NAME ...] [--passes K]

Trains every candidate on the first 50,000 training samples, K passes each, and prints the
accuracy on the last 10,000 and the processor time (seconds of all cores together, which
other work on the machine does not lengthen). The test set is not read. The winners stand in
`methods.METHODS`.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path

from arguments import Parser, count
from methods import packages
from mnist import without_test_set
from process import Job, stream

CANDIDATES = {
    "adam": {"rate": (3e-4, 1e-3), "batch": (128, 512)},
    "sgd": {"rate": (0.03, 0.1, 0.3), "batch": (128, 512)},
    "mlpclassifier": {"rate": (3e-4, 1e-3), "batch": (200, 500)},
}


def main() -> None:
    """Print a line a candidate, and the best of each method."""
    parser = Parser("benchmarks/peers/tune.py", __doc__)
    parser.add_common(CANDIDATES)
    parser.add_argument("--passes", type=count, default=2, metavar="K",
                        help="over the data for each candidate (default: 2)")  # fmt: skip
    options = parser.parse_args()
    parser.check_packages(packages(options.only))
    samples = without_test_set(parser.samples(options.mnist))
    with tempfile.TemporaryDirectory() as folder:
        samples.save(Path(folder))
        del samples
        for name in dict.fromkeys(options.only):
            accuracy = {}
            for values in itertools.product(*CANDIDATES[name].values()):
                settings = dict(zip(CANDIDATES[name], values, strict=True))
                job = Job(name, folder, options.network, math.inf, options.passes, settings, True)
                *_, last = stream(job)
                accuracy[values] = last["test_accuracy"]
                print(
                    f"{name} {settings}: {last['seconds']:.0f} s, "
                    f"held-out accuracy {accuracy[values]:.4f}",
                    flush=True,
                )
            best = max(accuracy, key=accuracy.get)
            print(f"{name}: rate {best[0]:g}, batch {best[1]}, {accuracy[best]:.4f}", flush=True)


if __name__ == "__main__":
    main()
