"""Training with a state of 8 GB under a hard limit of 2 GiB, compared with a run in memory.

    python benchmarks/out_of_core.py [--gigabytes 8] [--limit 2GiB] [--iterations 3] [--folder DIR]

Prints a Markdown table: seconds an iteration, peak memory, bytes read and written, and the
bandwidth of the disk, all measured in this call. Needs memory for the run that it is held
against (leave that out with ``--no-reference``) and twice the gigabytes on the disk; a quarter of
an hour on two cores. The limit is a control group's where this process may make one, and then
counts page cache, too; else ``RLIMIT_DATA``, which counts private memory only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from suite.control_group import control_group
from suite.measure import peak_bytes

from fastbcd import Problem, ThreeSplitting
from fastbcd.devices.storage.arrays import parse_bytes

WIDTHS = "784,1500,1500,1500,10"
GIB, MIB = 2**30, 2**20
PIECE = 8 * MIB


def disk_bandwidth(folder: str, size: int = 2 * GIB) -> tuple[float, float]:
    """Bytes a second written (with fdatasync) and read, sequentially, past the page cache."""
    piece = np.random.default_rng(0).bytes(PIECE)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        start = time.perf_counter()
        for _ in range(0, size, PIECE):
            file.write(piece)
        os.fdatasync(file.fileno())
        written = size / (time.perf_counter() - start)
        os.posix_fadvise(file.fileno(), 0, size, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        start = time.perf_counter()
        while file.readinto(bytearray(PIECE)):
            pass
        return written, size / (time.perf_counter() - start)


def disk_bytes() -> tuple[int, int]:
    """Bytes that this process read from and wrote to disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    counts = {name: int(number) for name, number in (line.split(": ") for line in lines)}
    return counts["read_bytes"], counts["write_bytes"] - counts["cancelled_write_bytes"]


def train(
    widths: tuple[int, ...], n: int, iterations: int, memory: str | None, folder: str | None
) -> dict[str, Any]:
    """Do one run on synthetic samples in this process; return its costs."""
    problem = Problem(widths, reduction="sum")
    solver = ThreeSplitting(problem, alpha=5.0, memory=memory, folder=folder)
    X = solver.device.samples((n, widths[0]), "float32")
    Y = solver.device.samples((n, widths[-1]), "float32")
    rng = np.random.default_rng(0)
    centers = rng.random((widths[-1], widths[0]), np.float32)
    # Small pieces, the same ones wherever X is: the draws must not depend on it.
    for start in range(0, n, 4096):
        rows = slice(start, min(n, start + 4096))
        labels = rng.integers(0, widths[-1], rows.stop - rows.start)
        Y[rows] = np.eye(widths[-1], dtype=np.float32)[labels]
        X[rows] = centers[labels] * rng.random((len(labels), widths[0]), np.float32)
        solver.device.done_with(X, rows)
        solver.device.done_with(Y, rows)
    start = time.perf_counter()
    state = solver.init(X, Y, init="normal:0.01", bias=0.1)
    first = time.perf_counter() - start
    size = sum(array.nbytes for array in (state.Y, *state.V, *state.U[1:]))
    seconds, processor, reads, writes = [], [], [], []
    for _ in range(iterations):
        before, start, busy = disk_bytes(), time.perf_counter(), time.process_time()
        solver.step(state)
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - busy)
        after = disk_bytes()
        reads.append(after[0] - before[0])
        writes.append(after[1] - before[1])
    digest = hashlib.sha256(b"".join(W.tobytes() for W in state.weights)).hexdigest()
    return {
        "bytes": size,
        "init": first,
        # The first iteration compiles, or loads what is compiled.
        "seconds": float(np.median(seconds[1:])),
        "processor": float(np.median(processor[1:])),
        "read": float(np.median(reads[1:])),
        "written": float(np.median(writes[1:])),
        "peak": peak_bytes(),
        "objective": solver.objective(state),
        "weights": digest,
    }


def run(options: argparse.Namespace, n: int, limited: bool) -> dict[str, Any]:
    """`train` in a process of its own, under the limit or without."""
    command = [sys.executable, __file__, "--child", str(n), "--widths", options.widths]
    command += ["--iterations", str(options.iterations)]
    if not limited:
        process = subprocess.run(command, capture_output=True, text=True, check=True)
        return dict(json.loads(process.stdout))
    limit = parse_bytes(options.limit, "--limit")
    command += ["--limit", options.limit, "--folder", options.folder]
    with control_group(limit) as made:

        def enter() -> None:
            if made.path is not None:
                made.enter()
            else:
                resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

        process = subprocess.run(command, preexec_fn=enter, capture_output=True, text=True)
        if process.returncode != 0:
            raise SystemExit(f"the limited run ended with {process.returncode}: {process.stderr}")
        result = dict(json.loads(process.stdout))
        if made.path is not None:
            result["group peak"] = made.peak()
        return result


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of X, Y, V and U")
    parser.add_argument("--widths", default=WIDTHS, help=f"of layers (default {WIDTHS})")
    parser.add_argument("--limit", default="2GiB", help="of memory (default 2GiB)")
    parser.add_argument("--iterations", type=int, default=4, help="the first is not counted")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk to use")
    parser.add_argument("--no-reference", action="store_true", help="without the run in memory")
    parser.add_argument("--child", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    widths = tuple(map(int, options.widths.split(",")))
    if options.child is not None:
        limited = "--limit" in sys.argv
        memory, folder = (options.limit, options.folder) if limited else (None, None)
        print(json.dumps(train(widths, options.child, options.iterations, memory, folder)))
        return
    if options.iterations < 2:
        parser.error("--iterations must be at least 2: the first is not counted")
    # So that the limited process ends and its group goes, too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))

    row_bytes = 4 * (widths[0] + widths[-1] + 2 * sum(widths[1:]))
    n = round(options.gigabytes * 1e9 / row_bytes)
    write_rate, read_rate = disk_bandwidth(options.folder)
    print("| what | measured |\n|---|---|")
    print(f"| {options.widths.replace(',', '-')}, samples | {n:,} |")
    print(f"| disk, read, GB/s | {read_rate / 1e9:.2f} |")
    print(f"| disk, write with fdatasync, GB/s | {write_rate / 1e9:.2f} |", flush=True)
    disk = run(options, n, limited=True)
    print(f"| state (X, Y, V, U), GB | {disk['bytes'] / 1e9:.2f} |")
    kind = "RLIMIT_DATA" if "group peak" not in disk else "control group"
    print(f"| hard limit ({kind}), GiB | {parse_bytes(options.limit, '--limit') / GIB:.2f} |")
    print(f"| peak resident memory, GiB | {disk['peak'] / GIB:.2f} |")
    if "group peak" in disk:
        print(f"| peak with page cache, GiB | {disk['group peak'] / GIB:.2f} |")
    print(f"| out of core, seconds for the first states | {disk['init']:.1f} |")
    print(f"| out of core, seconds an iteration | {disk['seconds']:.1f} |")
    print(f"| out of core, processor seconds an iteration | {disk['processor']:.1f} |")
    print(f"| read, GB an iteration | {disk['read'] / 1e9:.2f} |")
    print(f"| written, GB an iteration | {disk['written'] / 1e9:.2f} |")
    least = disk["read"] / read_rate + disk["written"] / write_rate
    print(f"| the disk alone would take, seconds | {least:.1f} |")
    print(f"| share of the disk's bandwidth | {least / disk['seconds']:.2f} |", flush=True)
    if not options.no_reference:
        memory = run(options, n, limited=False)
        print(f"| in memory, seconds an iteration | {memory['seconds']:.1f} |")
        print(f"| in memory, processor seconds an iteration | {memory['processor']:.1f} |")
        print(f"| speed as a share of in memory | {memory['seconds'] / disk['seconds']:.2f} |")
        same = memory["weights"] == disk["weights"]
        print(f"| same weights, to the last bit | {'yes' if same else 'NO'} |")


if __name__ == "__main__":
    main()
