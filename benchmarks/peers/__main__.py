"""fastbcd beside PyTorch and scikit-learn: the same network on MNIST, time and test accuracy.

    python benchmarks/peers --mnist FOLDER [--budget SECONDS] [--only NAME ...] [--out FILE.json]

Prints a Markdown table and a line that names the machine; ``--out`` writes every pass over
the data. Each method trains in a process of its own, one after the other, with all cores,
until another pass would exceed the budget of training seconds. The clock counts training,
from the making of the network and its variables on: not reading, not evaluation, and not
the compilation of fastbcd's kernels, which are warmed up before. The published procedure
has a second line that counts what its authors evaluate after each iteration, too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from arguments import Parser, count, positive
from methods import COMPARED, packages
from process import Job, stream
from report import Run, machine, table


def main() -> None:
    """Run the methods that were asked for, then print the table."""
    parser = Parser("benchmarks/peers", __doc__)
    parser.add_common(COMPARED)
    parser.add_argument("--budget", type=positive, default=300.0, metavar="SECONDS",
                        help="of training for each method (default: 300)")  # fmt: skip
    parser.add_argument("--passes", type=count, default=1000, metavar="K",
                        help="at most so many passes (default: 1000)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="for all passes")
    options = parser.parse_args()
    parser.check_packages(packages(options.only))
    parser.check_file(options.out)
    samples = parser.samples(options.mnist)
    runs: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        samples.save(Path(folder))
        del samples  # methods come with their own memory
        for name in dict.fromkeys(options.only):
            job = Job(name, folder, options.network, options.budget, options.passes)
            try:
                runs[name] = run(job)
            except RuntimeError as error:  # the others' half hour is not lost
                print(f"{parser.prog}: {error}", file=sys.stderr)
                continue
            if options.out:
                content = {"network": options.network, "budget": options.budget, "runs": runs}
                options.out.write_text(json.dumps(content, indent=1) + "\n")
    print(table(runs, options.budget))
    print()
    print(machine(runs))
    sys.exit(0 if len(runs) == len(set(options.only)) else 1)


def run(job: Job) -> Run:
    """Threads, BLAS and all passes of a job; passes go to standard error as they come."""
    lines = stream(job)
    result = {**next(lines), "passes": []}
    print(f"{job.method}: {result['threads']} threads, {result['blas']}", file=sys.stderr)
    for record in lines:
        result["passes"].append(record)
        print(
            f"{job.method}: pass {record['pass']}, {record['seconds']:.1f} s, "
            f"test accuracy {record['test_accuracy']:.4f}",
            file=sys.stderr,
            flush=True,
        )
    return result


if __name__ == "__main__":
    main()
