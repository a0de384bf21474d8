"""The state of a mini-batch run: weights, their momentum and metrics; nothing of size n."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbcd.solvers.mini_batch.settings import Settings
from fastbcd.support.borrowed import copy_borrowed
from fastbcd.support.stored import check_state_dict
from fastbcd.training.clock import BlockClock

# What a batch updates in place: of a state, and of its metrics.
UPDATED = ("W", "mean_W", "S", "gains", "rms_U", "rms_D", "batch_loss")
UPDATED_IN_METRICS = ("Q", "directions", "sketch")


@dataclass
class MiniBatchState:
    """Blocks of `MiniBatchThreeSplitting`, indexed by layer as in the paper.

    Attributes
    ----------
    W : list
        ``W[l]`` (d_l, d_{l-1} + 1) for l = 1..L, the bias in the last column; ``W[0]`` is None.
    mean_W : list
        Exponential mean of ``W[l]`` over batches, which is what predicts; W itself without
        averaging.
    S : list
        Momentum: the exponential mean of the normalised cross products, of the shape of W.
    metrics : list
        ``metrics[l]``: the streamed Gram matrix of ``V^_{l-1}``.
    X, Y : array
        Inputs (n, d_0) and targets (n, d_L) as they were given, memory-mapped files included.
    gains : (L + 1,) array or None
        rms(D_l) for a unit of rms(D_{l+1}), as of the last batch; None before the first.
    sample_weight : (n,) float64 array or None
        What each sample counts, 1 in the mean; None where all count the same.
    settings : Settings
        Batch size, step size, momentum, damping and rank of this run.
    rms_U, rms_D : (L + 1,) array or None
        ``rms(U_l)`` and ``rms(D_l)`` of the last batch; None before the first.
    output_unit : float
        The scale of the outputs, which multiplies the last layer's step.
    length : int
        Batches until the schedule ends.
    rng : numpy.random.Generator
        Shuffles.
    batch_loss : (2,) array or None
        Where one is set, each batch adds its loss, before its step, and its number of samples.
    batches, iteration : int
        Batches and passes done.
    n_total, first : int
        Samples of all ranks, where X and Y hold those of one, and the number of the first one
        here; default: n and 0.
    clock : BlockClock or None
        Where one is set, `step` empties it, and batches add to it how long each block takes.
    """

    W: list[Any]
    mean_W: list[Any]
    S: list[Any]
    metrics: list[Any]
    X: Any
    Y: Any
    settings: Settings
    output_unit: float
    length: int
    rng: np.random.Generator
    sample_weight: Any = None
    gains: Any = None
    rms_U: Any = None
    rms_D: Any = None
    batch_loss: Any = None
    batches: int = 0
    iteration: int = 0
    n_total: int = 0
    first: int = 0
    clock: BlockClock | None = None
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.n_total = self.n_total or self.n

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": {}, "clock": None}

    def state_dict(self) -> dict[str, Any]:
        """All that continues a run, for a checkpoint; the arrays are those of this state.

        X and Y are data: a checkpoint has their hash. Settings are hyperparameters.
        """
        return {
            "version": 1,
            "W": [None, *self.W[1:]],
            "mean_W": [None, *self.mean_W[1:]],
            "S": [None, *self.S[1:]],
            "metrics": [None, *(metric and metric.state_dict() for metric in self.metrics[1:])],
            "output_unit": self.output_unit,
            "length": self.length,
            "rng": self.rng.bit_generator.state,
            "sample_weight": self.sample_weight,
            "gains": self.gains,
            "rms_U": self.rms_U,
            "rms_D": self.rms_D,
            "batch_loss": self.batch_loss,
            "batches": self.batches,
            "iteration": self.iteration,
            "n_total": self.n_total,
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from `stored`, which `state_dict` gave; its arrays become those of this state.

        `InputError` names keys that are missing or unknown, and another version.
        """
        check_state_dict(stored, self.state_dict(), "MiniBatchState")
        self.W[1:], self.mean_W[1:], self.S[1:] = (stored[key][1:] for key in ("W", "mean_W", "S"))
        for metric, own in zip(self.metrics[1:], stored["metrics"][1:], strict=True):
            if metric is not None:
                metric.load_state_dict(own)
        self.output_unit, self.length = stored["output_unit"], stored["length"]
        self.rng.bit_generator.state = stored["rng"]
        self.sample_weight, self.gains = stored["sample_weight"], stored["gains"]
        self.rms_U, self.rms_D = stored["rms_U"], stored["rms_D"]
        self.batch_loss, self.batches = stored["batch_loss"], stored["batches"]
        self.iteration, self.n_total = stored["iteration"], stored["n_total"]

    def make_own(self) -> None:
        """Copy what batches update and must not be written to; samples are never written to."""
        copy_borrowed(self, names=UPDATED, mapped=True)
        copy_borrowed(*self.metrics[1:], names=UPDATED_IN_METRICS, mapped=True)

    @property
    def weights(self) -> list[Any]:
        """``W_1, ..., W_L`` of the network: the mean ones."""
        return self.mean_W[1:]

    @property
    def n(self) -> int:
        """Number of samples here."""
        return len(self.X)
