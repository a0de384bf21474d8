"""Rules for settings of `MiniBatchThreeSplitting` that its user does not give.

    batch size   m = n / 40, between 16 and 500
    passes       10, or more until there are 1200 batches
    step size    0.65 / sqrt(L') * min(1, m / 500)^(3/4)
                 0.05 * min(1, m / 250)^(1/2)         with step_unit="output" or "spectral"
    momentum     1 - 0.1 f
    damping      5 / f
    rank         16 f^2                       f = m / 500, between 1 and max(1, 3.5 / sqrt(L'))

n is the number of samples and L' the number of layers that are not residual, at least 1. The rules
were chosen on small data sets (`benchmarks/defaults.py`) and on 10,000 training samples of MNIST
that were held out; benchmarks/NOTES.md has the measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.layers import Layer
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch.batches import n_batches
from fastbcd.support.parameters import choice

# The batch size m at which f = 1.
USUAL_BATCH = 500
# The batch size above which the step size in units of the output does not grow.
OUTPUT_BATCH = 250
# What a step size of 1 stands for: the fit of the updates D_l, or a change of outputs of rms 1; the
# last spreads this change over all directions of the outputs.
STEP_UNITS = ("fit", "output", "spectral")
BATCHES_A_PASS, SMALLEST_BATCH = 40, 16
PASSES, BATCHES = 10, 1200


@dataclass(frozen=True)
class Settings:
    """The settings of one run: those that were given, and those of the rules.

    Attributes
    ----------
    batch_size : int
    step_size, momentum, damping : float
    rank : int
    """

    batch_size: int
    step_size: float
    momentum: float
    damping: float
    rank: int


def shares_weights(layer: Layer) -> bool:
    """Return whether several outputs have the same weights, as the pixels of a convolution do."""
    return layer.has_weights and layer.weight_shape[0] < layer.d_out


def step_unit_for(problem: Problem, device: Device, given: str | None) -> str:
    """Return the `given` unit of the step size, or the rule's if it is None."""
    if given is None:
        return "output" if any(map(shares_weights, problem.layers)) else "fit"
    if choice(given, STEP_UNITS, "step_unit") == "spectral" and device.name == "cuda":
        raise InputError(
            "step_unit: spectral steps run on the processor only; give device='cpu', or "
            "step_unit='output'"
        )
    return given


def settings_for(
    problem: Problem,
    n: int,
    batch_size: int | None,
    step_size: float | None,
    momentum: float | None,
    damping: float | None,
    rank: int | None,
    step_unit: str = "fit",
) -> Settings:
    """Return the settings for n samples; None is replaced by the rule."""
    if batch_size is None:
        batch_size = min(max(n // BATCHES_A_PASS, SMALLEST_BATCH), USUAL_BATCH)
    m = -(-n // n_batches(n, batch_size))  # the size of the largest batch
    size, depth = m / USUAL_BATCH, max(1, problem.n_layers - sum(problem.residual))
    # Large batches work with less momentum and less damping if the metric has more directions; the
    # deeper a plain network is, the smaller this effect.
    larger = min(max(size, 1.0), max(1.0, 3.5 / math.sqrt(depth)))
    if step_size is None and step_unit != "fit":
        step_size = 0.05 * min(1.0, math.sqrt(m / OUTPUT_BATCH))
    elif step_size is None:
        step_size = 0.65 / math.sqrt(depth) * min(1.0, size**0.75)
    if momentum is None:
        momentum = 1.0 - 0.1 * larger
    if damping is None:
        damping = 5.0 / larger
    if rank is None:
        rank = round(16 * larger * larger)
    return Settings(batch_size, step_size, momentum, damping, rank)


def passes_for(n: int, batch_size: int) -> int:
    """Return the number of passes that gives enough batches."""
    return max(PASSES, -(-BATCHES // n_batches(n, batch_size)))
