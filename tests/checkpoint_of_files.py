"""Print how much memory a process takes to write, and go on from, a checkpoint of mapped arrays.

``FOLDER ROWS``: it prints the peak of resident memory above its value before, in bytes, and whether
the same state came back.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

from fastbcd import Problem, ThreeSplitting
from fastbcd.checkpoints.checkpoint import read, write
from fastbcd.checkpoints.fingerprint import fingerprint
from fastbcd.solvers.state import State
from fastbcd.training.loop import Result

WIDTHS = (64, 1024, 10)


def memory(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise AssertionError(name)


class Blank(ThreeSplitting):
    """A state without a forward pass, which would count, too."""

    def blank(self, X, Y, sample_weight=None):
        shapes = [(len(X), width) for width in WIDTHS[1:]] * 2
        states = self.device.storage.allocate(shapes, np.float32)
        W = [np.zeros((d, b + 1), np.float32) for b, d in itertools.pairwise(WIDTHS)]
        return State([None, *W], [X, *states[:2]], [None, *states[2:]], Y)


folder, n = Path(sys.argv[1]), int(sys.argv[2])
X, Y = (
    np.memmap(folder / name, np.float32, "w+", shape=(n, width))
    for name, width in (("X", WIDTHS[0]), ("Y", WIDTHS[-1]))
)
solver = Blank(Problem(WIDTHS), memory=2**31, folder=folder)
old = solver.blank(X, Y)
for k, array in enumerate((X, Y, *old.V[1:], *old.U[1:])):
    for row in range(0, n, 97):
        array[row] = 1 + k + row
    solver.device.storage.done_with(array, slice(0, n))
old.iteration = 5
before = memory("VmRSS")
data = fingerprint(solver.device, old)
path = folder / "c.safetensors"
write(path, solver, old, data, 9, Result(old, None))
new = read(path).restore(solver, X, Y)
grown = memory("VmHWM") - before
pairs = zip((*old.V[1:], *old.U[1:]), (*new.V[1:], *new.U[1:]), strict=True)
same = all(a is not b and np.array_equal(a, b) for a, b in pairs)
print(grown, same and new.iteration == 5)
