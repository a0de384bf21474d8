"""One method in a process of its own: peak memory, threads and caches are the method's alone.

`stream` runs one job in a new process and yields what it answers: first threads and BLAS, then a
record a pass. A `Worker` is a process that runs several jobs one after the other: its imports and
its compiled kernels are ready from the second job on.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from methods import METHODS, Method
from mnist import Samples
from numpy.typing import NDArray

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """The work of the process.

    `budget` is in seconds of training; with `processor_time` all seconds are those of all cores
    together, which other work on the machine does not lengthen. With a `share` below 1 the method
    trains on so large a part of the samples, drawn by the seed of its settings.
    """

    method: str
    folder: str
    hidden: tuple[int, ...]
    budget: float
    passes: int
    settings: dict[str, Any] = field(default_factory=dict)
    processor_time: bool = False
    share: float = 1.0


class Worker:
    """A process that runs one job after the other: lines of JSON in and out."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def stream(self, job: Job) -> Iterator[Record]:
        """Records of `job` as they come; raises `RuntimeError` where the process fails.

        All of them are to be taken before the next job.
        """
        with contextlib.suppress(BrokenPipeError):  # its end shows below
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            record = json.loads(line)
            if record is None:
                return
            yield record
        raise RuntimeError(f"{job.method} ended with status {self._process.wait()}")

    def close(self) -> None:
        """Let the process end after its last job, and wait for it."""
        with self._process, contextlib.suppress(BrokenPipeError):  # it may have ended before
            self._process.stdin.close()


def stream(job: Job) -> Iterator[Record]:
    """Records of `job` from a new process as they come; raises `RuntimeError` where it fails."""
    with contextlib.closing(Worker()) as worker:
        yield from worker.stream(job)


def records(
    method: Method, X_test: NDArray[Any], y_test: NDArray[Any], job: Job
) -> Iterator[Record]:
    """Train pass by pass until another one would exceed the budget.

    ``seconds`` is training so far, the start included and evaluation not; where the method
    has a monitor, ``monitored_seconds`` is training and monitoring so far.
    """
    clock = time.process_time if job.processor_time else time.perf_counter
    seconds = _time(method.start, clock)
    monitoring = 0.0
    for number in range(1, min(job.passes, getattr(method, "passes", None) or job.passes) + 1):
        last = _time(method.one_pass, clock)
        seconds += last
        record: Record = {"pass": number, "seconds": seconds, "pass_seconds": last}
        if hasattr(method, "monitor"):
            cost = _time(lambda record=record: record.update(method.monitor()), clock)
            monitoring += cost
            record["monitored_seconds"] = seconds + monitoring
            record["monitored_pass_seconds"] = last + cost
        record["test_accuracy"] = float(np.mean(method.predict(X_test) == y_test))
        record["peak_megabytes"] = peak_megabytes()
        yield record
        if seconds + last > job.budget:
            break


def _time(function: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    function()
    return clock() - start


def peak_megabytes() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not ru_maxrss, which on Linux a process inherits from the one that started it.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def main() -> None:
    """Run the jobs of the standard input; a line with ``null`` follows the records of each."""
    for line in sys.stdin:
        run(Job(**json.loads(line)))
        print("null", flush=True)


def run(job: Job) -> None:
    """Print the records of one job."""
    samples = Samples.open(Path(job.folder)).part(job.share, job.settings.get("seed", 0))
    method = METHODS[job.method].make(samples, tuple(job.hidden), job.settings)
    X_test, y_test = samples.X_test, samples.y_test
    del samples  # a method that keeps its inputs in another form shall not pay for both
    print(json.dumps({"threads": method.threads, "blas": method.blas}), flush=True)
    for record in records(method, X_test, y_test, job):
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
