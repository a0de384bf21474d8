"""What elementwise kernels of the GPU should reach: ``python tests/gpu/predict.py [FUNCTION ...]``.

A prediction from the machine code, not a measurement: which share of a copy's bandwidth each
float32 kernel has on an array of (60000, 1500), and what limits it. Needs NVIDIA's nvdisasm on the
PATH beside what `link` needs. With FUNCTIONs only these of `fastbcd.kernels.cuda`.

The model: a multiprocessor needs for one element the largest of

- bandwidth: bytes read and written, at 0.92 of the memory's rate (a copy's share, assumed);
- issue: instructions of the shortest way through the loop, 4 warps of 32 in a clock, and of the
  thread's start, shared by its rows;
- pipes: 32-bit integers and comparisons, float32, special functions, conversions, float64, each
  with its lanes in a clock;
- latency: what a thread waits for its loads (600 ns under load, assumed) and for its own chain of
  instructions (4 clocks each, assumed), over the threads that registers let live at a time and
  the elements that each has under way: as many as it loads before it first uses one.

Not in it: banks, partly filled sectors, the last round of blocks, the second launch of a sum.
Loops inside a formula (proxes that iterate) count once.
"""

from __future__ import annotations

import heapq
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from compiled import intermediate, linked
from link import recorded
from numba import types

from fastbcd.kernels.cuda import target

SHAPE = 60_000, 1500
# Function -> arrays of the size of its matrix that an element reads and writes.
ELEMENTWISE = {
    "activate": (1, 1),
    "activate_augmented": (1, 1),
    "activation_residual": (2, 0),
    "activation_miss": (2, 1),
    "state_center": (1, 1),
    "update_preactivation": (3, 2),
    "displacement": (2, 1),
    "majorised_residual": (2, 1),
    "curvature_bound": (2, 0),
    "preactivation_subgradient": (3, 0),
    "scaled": (1, 1),
    "residual_of_bias": (1, 1),
    "proximal_center": (2, 1),
    "displacement_of_states": (2, 1),
    "squared_norm": (1, 0),
    "squared_distance": (2, 0),
    "add_column_sums": (1, 0),
    "scale_rows": (1, 1),
    "mean_of_weights": (2, 1),
    "step_weights_along": (3, 1),
    "gather": (1, 1),
}
LATENCY, CHAIN, OF_A_COPY = 600e-9, 4.0, 0.92


@dataclass(frozen=True)
class Card:
    """Rates of a card: bytes a second, clock, lanes of each pipe in a clock and multiprocessor."""

    rate: float
    clock: float
    processors: int
    lanes: dict[str, int]


PIPES = {"integer": 64, "special": 16, "conversion": 16}
CARDS = {
    "sm_90": Card(3.35e12, 1.7e9, 132, {**PIPES, "float32": 128, "float64": 64}),
    "sm_80": Card(2.04e12, 1.41e9, 108, {**PIPES, "float32": 64, "float64": 32}),
}


def pipe(operation: str) -> str | None:
    """The pipe of an instruction whose lanes may run out."""
    name = operation.split(".")[0]
    if name in ("FFMA", "FADD", "FMUL", "IMAD"):
        return "float32"
    if name in ("DFMA", "DADD", "DMUL", "DSETP"):
        return "float64"
    if name in ("F2F", "F2I", "I2F"):
        return "conversion"
    if name == "MUFU":
        return "special"
    branches = ("BRA", "BSSY", "BSYNC", "EXIT", "CALL", "RET", "LD", "ST", "S2", "BAR", "WARPSYNC")
    return None if name.startswith(("U", *branches)) else "integer"


Line = tuple[str, str, bool]  # operation, operands, whether under a condition


def machine_code(cubin: bytes) -> tuple[list[Line], dict[int, int]]:
    """Instructions, and where branches lead: number of an instruction -> number of its target."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run(
            ["nvdisasm", "-c", file.name], check=True, capture_output=True, text=True
        ).stdout
    lines: list[Line] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = len(lines)
        elif found := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(@\S+)?\s*([A-Z]\S*)(.*);", line):
            # What follows the last instruction, and aligns it, is never reached.
            lines.append((found[2], found[3], found[1] is not None or " P" in found[3][:3]))
    targets = {}
    for k, (operation, operands, _) in enumerate(lines):
        if operation == "BRA" and (label := re.search(r"\((\.L\w+)\)", operands)):
            targets[k] = labels[label[1]]
    return lines, targets


def is_load(line: Line) -> bool:
    """Whether it reads the GPU's memory."""
    return re.match(r"LD(G)?(\.|$)", line[0]) is not None


def is_store(line: Line) -> bool:
    """Whether it writes to the GPU's memory."""
    return re.match(r"ST(G)?(\.|$)", line[0]) is not None


def way(
    lines: list[Line], targets: dict[int, int], start: int, end: int, loads: int, stores: int
) -> list[int] | None:
    """The shortest way from start to end, within them, with at least so many loads and stores."""
    first = (0, start, 0, 0)
    heap: list[tuple[tuple[int, int, int, int], list[int]]] = [(first, [])]
    seen = set()
    while heap:
        (cost, k, n_loads, n_stores), before = heapq.heappop(heap)
        n_loads = min(loads, n_loads + is_load(lines[k]))
        n_stores = min(stores, n_stores + is_store(lines[k]))
        if (k, n_loads, n_stores) in seen:
            continue
        seen.add((k, n_loads, n_stores))
        path = [*before, k]
        if k == end:
            if (n_loads, n_stores) == (loads, stores):
                return path
            continue
        ahead = [targets[k]] if k in targets else []
        if lines[k][0] not in ("BRA", "EXIT", "RET.REL.NODEC") or lines[k][2]:
            ahead.append(k + 1)
        for other in ahead:
            if k < other <= end:  # forwards: loops inside a formula are passed through once
                # A call is a rare case that the fast way passes by.
                step = 100 if lines[other][0] == "CALL.REL.NOINC" else 1
                heapq.heappush(heap, ((cost + step, other, n_loads, n_stores), path))
    return None


@dataclass
class Loop:
    """The way through a kernel's loop: its instructions, elements it does, and the start's."""

    path: list[Line]
    elements: int
    start: int

    def together(self, reads: int) -> float:
        """Elements that a thread has loaded before it first uses one of them, on average."""
        groups, waiting, loads = 0, set(), 0
        for operation, operands, _ in self.path * 2:
            wide = operands + (operation if operation.startswith("ST") else "")
            sources = wide if is_store((operation, "", False)) else wide.partition(",")[2]
            if waiting & set(re.findall(r"\bR\d+", sources)):
                groups, waiting = groups + 1, set()
            if is_load((operation, "", False)):
                loads += 1
                waiting |= set(re.findall(r"\bR\d+", operands.partition(",")[0]))
        return loads / max(groups, 1) / max(reads, 1)


def hot_loop(lines: list[Line], targets: dict[int, int], reads: int, writes: int) -> Loop:
    """The loop over elements: of all ways back to a loop's head that with the fewest
    instructions for an element."""
    best: tuple[float, list[int], int] | None = None
    for end, head in targets.items():
        for elements in (8, 4, 2, 1):
            if head <= end and (
                path := way(lines, targets, head, end, elements * reads, elements * writes)
            ):
                if best is None or len(path) / elements < best[0]:
                    best = len(path) / elements, path, elements
                break
    if best is None:
        raise LookupError("no loop with these loads and stores")
    _, path, elements = best
    start = way(lines, targets, 0, path[0], 0, 0) or []
    return Loop([lines[k] for k in path], elements, len(start))


def prediction(loop: Loop, registers: int, reads: int, writes: int, card: Card) -> Any:
    """Share of a copy's bandwidth, what limits it, and clocks of an element by resource."""
    grid, block = target._grid(SHAPE, target.BLOCKS if writes else target.SUM_BLOCKS)
    turns = SHAPE[0] / (grid[1] * block[1])
    warps = 65536 // (32 * 8 * -(-registers // 8))
    threads = 32 * min(64, warps // 8 * 8)
    n = len(loop.path) / loop.elements
    clocks = {
        "bandwidth": 4 * (reads + writes) / (OF_A_COPY * card.rate / card.processors / card.clock),
        "issue": (n + loop.start / turns) / 128,
    }
    pipes = [pipe(operation) for operation, _, _ in loop.path]
    for name, lanes in card.lanes.items():
        clocks[name] = pipes.count(name) / loop.elements / lanes
    together = loop.together(reads) if reads else loop.elements
    wait = LATENCY * card.clock * (reads > 0) + CHAIN * n * together
    clocks["latency"] = wait / (threads * together)
    limit = max(clocks, key=lambda name: clocks[name])
    return clocks["bandwidth"] / clocks[limit], limit, clocks, threads, together


def in_layout(signature: tuple[Any, ...], layout: str) -> tuple[Any, ...]:
    """The signature with matrices of that layout: "A" where rows are longer than they seem."""
    return tuple(
        types.Array(t.dtype, t.ndim, layout) if isinstance(t, types.Array) and t.ndim == 2 else t
        for t in signature
    )


def launches(wanted: set[str]) -> Iterator[tuple[str, Any, Any, int, int]]:
    """Name, kernel, signature, reads and writes of every float32 kernel over elements."""
    for name, _, kernel, signature, _ in recorded(True):
        function = name.partition("[")[0]
        finishes = kernel.py_func.__name__ in ("_sum_of_blocks", "_largest_of_blocks", "_add_parts")
        if "float32:" in name and function in (wanted or ELEMENTWISE) and not finishes:
            case = name[len(function) + 1 : name.index("]")].split(", ")
            reads, writes = ELEMENTWISE[function]
            if "residual" in case:  # arrays of the layer below; of the next layer, too
                reads += 3 if function == "state_center" else 1
            writes += "kept" in case
            reads -= case == ["alone"]
            yield name[: name.index("]") + 1], kernel, signature, reads, writes


def main(wanted: set[str]) -> None:
    """Print the table."""
    print(f"{'kernel':52} {'layout':6} {'card':6} share  limit       registers instructions loads")
    for name, kernel, signature, reads, writes in launches(wanted):
        for layout in ("C", "A"):
            code = intermediate(kernel.py_func, in_layout(signature, layout))
            for architecture, card in CARDS.items():
                cubin, log = linked(code, architecture, "cubin", ptxas_options=["-v"])
                registers = int(re.search(r"Used (\d+) registers", log)[1])
                try:
                    loop = hot_loop(*machine_code(cubin), reads, writes)
                except LookupError as problem:
                    print(f"{name:52} {layout:6} {architecture} {problem}")
                    continue
                share, limit, clocks, threads, together = prediction(
                    loop, registers, reads, writes, card
                )
                print(
                    f"{name:52} {layout:6} {architecture} {share:5.2f}  {limit:10} {registers:4}"
                    f" {threads:5} {len(loop.path) / loop.elements:6.1f} {together:4.1f}",
                    *(f"{k}={v:.2f}" for k, v in clocks.items()),
                    flush=True,
                )


if __name__ == "__main__":
    main(set(sys.argv[1:]))
