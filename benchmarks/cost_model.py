"""Compare the cost model of three-splitting on several ranks with measurements, and read it off.

    python benchmarks/cost_model.py read          1e6 to 1e9 samples on 1 to 1,024 nodes
    python benchmarks/cost_model.py check         one and two ranks on this machine, minutes
    python benchmarks/cost_model.py networks      hosts on limited networks, as root, minutes

All print Markdown. `check` and `networks` need mpi4py and mpiexec; they run `observe` on every
rank, which measures rates and network for half a minute, predicts from these alone, and watches
iterations. Processor time is the time that a rank's thread had a processor, so other work on the
machine is not in it; messages are timed by the clock once all ranks are there. Each time is the
shortest of some iterations.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling.counts import LayerCounts, flops_per_sample, iteration_counts, state_bytes
from scaling.hardware import CORE, CORES, LAYERS, NETWORKS
from scaling.hosts import HostsError, hosts
from scaling.model import (
    Machine,
    Network,
    all_reduce_volume,
    default_tile_rows,
    half_time_samples,
    iteration_seconds,
    sample_seconds,
)

OBSERVED = {
    "784-500x2-10": (784, 500, 500, 10),
    "784-1500x3-10": (784, *[1500] * 3, 10),
    "784-600x10-10": (784, *[600] * 10, 10),
}
# Bits a second (None: what the machine can) and seconds; None altogether: no hosts.
LINKS: dict[str, tuple[float | None, float] | None] = {
    "shared-memory": None,
    "tcp": (None, 0.0),
    "10Gbit": (10e9, 0.0),
    "1Gbit": (1e9, 0.0),
    "100Mbit": (1e8, 0.0),
    "1Gbit+1ms": (1e9, 1e-3),
}
SAMPLES, NODES = (10**6, 10**7, 10**8, 10**9), (1, 4, 16, 64, 256, 1024)
HERE = Path(__file__)


def mpiexec() -> str:
    """The launcher beside this Python, or the machine's."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    if found is None:
        raise SystemExit("cost_model: no mpiexec; pip install 'fastbcd[mpi]'")
    return found


def observe(names: list[str], n: int, iterations: int) -> None:
    """Print a line of JSON for each network of layers, on the ranks that run this."""
    from mpi4py import MPI
    from scaling.calibrate import calibrate_machine, calibrate_network
    from scaling.observe import observe as watch

    comm = MPI.COMM_WORLD
    machine = calibrate_machine(1, comm)
    network = calibrate_network(comm) if comm.size > 1 else None
    for name in names:
        widths = OBSERVED[name]
        found = watch(widths, n, 1, comm, iterations)
        model = iteration_seconds(n, widths, comm.size, 1, machine, network)
        if comm.rank == 0:
            line: dict[str, Any] = {
                "layers": name,
                "ranks": comm.size,
                "model": vars(model),
                "found": vars(found),
                "machine": vars(machine),
                "network": None if network is None else vars(network),
            }
            print(json.dumps(line), flush=True)


def lines_of(command: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """The lines that `observe` prints on ranks that `command` starts."""
    program = [*(sys.executable, "-m", "mpi4py", str(HERE), "observe")]
    program += ["--samples", str(options.samples), "--iterations", str(options.iterations)]
    program += ["--layers", *options.layers]
    done = subprocess.run(
        [*command, *program], stdout=subprocess.PIPE, text=True, timeout=1200, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"cost_model: {' '.join(command)} ended with status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def check(options: argparse.Namespace) -> None:
    """Tables: one and two ranks of one thread here, by processor time and by the clock."""
    every = []
    for ranks in options.ranks:
        every += lines_of([mpiexec(), "-n", str(ranks)], options)
    print(
        f"{options.samples} samples. Processor seconds of an iteration (over samples, solves), "
        "seconds by the clock.\n\n"
        "| layers | ranks | predicted | measured | measured / predicted | clock | all-reduce | "
        "waiting |\n|---|---|---|---|---|---|---|---|"
    )
    for line in every:
        model, found = line["model"], line["found"]
        parts = model["samples"], model["rows"] + model["serial"]
        print(
            f"| {line['layers']} | {line['ranks']} | {sum(parts):.3g} ({parts[0]:.3g}, "
            f"{parts[1]:.3g}) | {found['busy']:.3g} | {found['busy'] / sum(parts):.2f} | "
            f"{found['clock']:.3g} | {found['all_reduce']:.3g} | {found['waiting']:.3g} |"
        )
    print("\n" + rates(every[-1]))


def networks(options: argparse.Namespace) -> None:
    """A table: ranks on hosts with limited networks, messages predicted and measured."""
    print(
        f"{options.samples} samples, {options.hosts} ranks of one thread. Seconds of an iteration; "
        "measured bandwidth and latency of messages that cross each other.\n\n"
        "| network | found | layers | all-reduces, predicted | measured | gathers, predicted | "
        "measured | in all, predicted | processor and messages | clock | MB sent, predicted | "
        "measured |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for label in options.links:
        limit = LINKS[label]
        try:
            if limit is None:
                lines = lines_of([mpiexec(), "-n", str(options.hosts)], options)
            else:
                with hosts(options.hosts, *limit) as made:
                    lines = lines_of(made.mpiexec(mpiexec()), options)
        except HostsError as error:
            raise SystemExit(f"cost_model: {error}") from None
        for line in lines:
            model, found, joined = line["model"], line["found"], line["network"]
            counts = iteration_counts(OBSERVED[line["layers"]])
            sent = sum(bytes_sent(c, line["ranks"]) for c in counts) / 1e6
            whole = found["busy"] + found["all_reduce"] + found["gather"]
            wire = "" if limit is None else f"{found['sent'] / 1e6:.3g}"
            print(
                f"| {label} | {joined['bandwidth'] * 8e-9:.3g} Gbit/s, "
                f"{joined['latency'] * 1e3:.3g} ms | {line['layers']} | "
                f"{model['all_reduce']:.3g} | {found['all_reduce']:.3g} | {model['gather']:.3g} | "
                f"{found['gather']:.3g} | {sum(model.values()):.3g} | {whole:.3g} | "
                f"{found['clock']:.3g} | {sent:.3g} | {wire} |",
                flush=True,
            )


def bytes_sent(counts: LayerCounts, ranks: int) -> float:
    """Bytes of the rank that sends most: its part of both messages, and a surplus rank's result."""
    power = 1 << (ranks.bit_length() - 1)
    share = all_reduce_volume(power)[1] + (power != ranks)
    return share * counts.all_reduce_bytes + (ranks - 1) / ranks * counts.gather_bytes


def rates(line: dict[str, Any]) -> str:
    """Rates of one thread, in a sentence."""
    values = ", ".join(f"{name} {rate / 1e9:.3g}" for name, rate in line["machine"].items())
    return f"Measured rates of a thread, in 1e9 flops or bytes a second: {values}."


def read(options: argparse.Namespace) -> None:
    """Tables for stated hardware; see `scaling/hardware.py`."""
    for name, widths in LAYERS.items():
        counts = iteration_counts(widths)
        message = sum(c.all_reduce_bytes for c in counts) / 1e6
        turn = sum(c.turn_bytes for c in counts) / CORE.matrices
        tile = default_tile_rows(widths)
        print(
            f"\n### {name}\n\n{flops_per_sample(widths) / 1e6:.3g} Mflop and "
            f"{state_bytes(widths) / 1e3:.3g} kB of state a sample, "
            f"{sample_seconds(widths, CORES, CORE) * 1e6:.3g} us on a node; {message:.3g} MB to "
            "add up in an iteration; tiles wait for each other's additions beyond "
            f"{tile * sample_seconds(widths, 1, CORE) / turn:.0f} threads a rank.\n\n"
            "| network | nodes | solves, s | all-reduce, s | gather, s | samples a node at which "
            "messages take half | solves take half | both together do |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for label, network in NETWORKS.items():
            for nodes in (4, 64, 1000, 1024):
                parts = iteration_seconds(nodes, widths, nodes, CORES, CORE, network)
                halves = half_time_samples(widths, nodes, CORES, CORE, network)
                both = both_half(nodes, widths, network=network)
                cells = [samples(value) for value in (*halves, both)]
                print(
                    f"| {label} | {nodes} | {parts.serial + parts.rows:.3g} | "
                    f"{parts.all_reduce:.3g} | {parts.gather:.3g} | {' | '.join(cells)} |"
                )
        print(
            "\nSeconds an iteration, 100 Gbit/s, and parallel efficiency (one node's seconds over "
            "those of all nodes together); *: smaller tiles, one a thread.\n"
        )
        print("| samples | " + " | ".join(f"{nodes} nodes" for nodes in NODES) + " |")
        print("|---" * (len(NODES) + 1) + "|")
        for n in SAMPLES:
            cells = [cell(n, widths, nodes) for nodes in NODES]
            print(f"| {n:.0e} | " + " | ".join(cells) + " |")
        remedies(widths)


def remedies(widths: tuple[int, ...]) -> None:
    """A table: by how much the samples that a node needs would fall."""
    faster = replace(CORE, factor=8 * CORE.factor, small_gram=8 * CORE.small_gram)
    cases: dict[str, dict[str, Any]] = {
        "as it is": {},
        "factors and W W^T on threads, 8 times as fast": {"machine": faster},
    }
    print("\n| 100 Gbit/s: samples a node at which half is lost | 64 nodes | 1024 nodes |")
    print("|---|---|---|")
    for label, changed in cases.items():
        cells = [samples(both_half(nodes, widths, **changed)) for nodes in (64, 1024)]
        print(f"| {label} | {' | '.join(cells)} |")


def both_half(
    nodes: int,
    widths: tuple[int, ...],
    machine: Machine = CORE,
    network: Network = NETWORKS["100 Gbit/s"],
) -> float:
    """Samples a node at which all that is not over samples takes half of the time."""
    parts = iteration_seconds(nodes, widths, nodes, CORES, machine, network)
    return (parts.total - parts.samples) / sample_seconds(widths, CORES, machine)


def cell(n: int, widths: tuple[int, ...], nodes: int) -> str:
    """Seconds and efficiency of `nodes` ranks."""
    network = NETWORKS["100 Gbit/s"]
    ideal = iteration_seconds(n, widths, 1, CORES, CORE).total / nodes
    tile = default_tile_rows(widths)
    smaller = max(1, math.ceil(n / nodes / CORES))
    found = iteration_seconds(n, widths, nodes, CORES, CORE, network, tile_rows=min(tile, smaller))
    star = "*" if smaller < tile else ""
    return f"{found.total:.3g}{star} ({min(1.0, ideal / found.total):.0%})"


def samples(value: float) -> str:
    """A number of samples in two digits; a dash for none."""
    return "-" if value == 0.0 else f"{float(f'{value:.2g}'):,.0f}"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("read", "check", "networks", "observe"))
    parser.add_argument("--samples", type=int, default=8000, help="of the runs that are measured")
    parser.add_argument("--iterations", type=int, default=5, help="after the first")
    parser.add_argument("--layers", nargs="+", choices=list(OBSERVED), default=list(OBSERVED))
    parser.add_argument("--links", nargs="+", choices=list(LINKS), default=list(LINKS))
    parser.add_argument("--hosts", type=int, default=2, help="of networks")
    parser.add_argument("--ranks", nargs="+", type=int, default=[1, 2], help="of check")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.what == "observe":
        observe(options.layers, options.samples, options.iterations)
    else:
        {"read": read, "check": check, "networks": networks}[options.what](options)


if __name__ == "__main__":
    main()
