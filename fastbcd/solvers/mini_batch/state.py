"""The state of a mini-batch run: weights, their momentum and metrics, but no states of samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastbcd.solvers.mini_batch.cache import BatchCache
from fastbcd.solvers.mini_batch.settings import Settings
from fastbcd.support.borrowed import copy_borrowed
from fastbcd.support.stored import check_state_dict
from fastbcd.training.clock import BlockClock

# Attributes of a state, and of its metrics, that a batch updates in place.
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
        Exponential means of ``W[l]`` over batches, which make predictions; the same arrays as W
        without averaging.
    S : list
        Momentum ``S[l]`` of the shape of ``W[l]``, the exponential mean of ``D_l^T V^_{l-1} /
        (m rms(D_l))``. Formulas call it M_l, because S_l is the skip operator; the attribute keeps
        its old name.
    metrics : list
        ``metrics[l]`` is the `GramMetric` of ``V^_{l-1}``.
    output_metrics : list
        ``output_metrics[l]`` is the `GramMetric` of the updates D_l; empty without one.
    X, Y : array
        Inputs (n, d_0) and targets (n, d_L) as they were given, memory-mapped files included.
    gains : (L + 1,) array or None
        Gain ratios ``rms(D_l) / (scale_l rms(D_{l+1}))`` of the last batch; None before the first.
    sample_weight : (n,) float64 array or None
        The weight of each sample, 1 in the mean; None for 1 each.
    settings : Settings
        Batch size, step size, momentum, damping and rank of this run.
    rms_U, rms_D : (L + 1,) array or None
        ``rms(U_l)`` and ``rms(D_l)`` of the last batch; None before the first.
    output_unit : float
        The size of the outputs, a factor of the last layer's step.
    length : int
        Number of batches until the schedule ends.
    rng : numpy.random.Generator
        Shuffles the samples.
    batch_loss : (2,) array or None
        If one is set, each batch adds its loss before its step, and its number of samples.
    batches, iteration : int
        Numbers of batches and of passes done.
    n_total, first : int
        Number of samples of all ranks, and the number of those on the ranks before this one;
        default: n and 0.
    clock : BlockClock or None
        If one is set, `step` empties it, and each block adds its seconds.
    cache : BatchCache
        Memory that serves all batches; it is not needed to continue a run.
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
    output_metrics: list[Any] = field(default_factory=list)
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
    cache: BatchCache = field(default_factory=BatchCache, repr=False)

    def __post_init__(self) -> None:
        self.n_total = self.n_total or self.n

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": None, "clock": None}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        self.__dict__.update(stored, cache=BatchCache())

    def state_dict(self) -> dict[str, Any]:
        """Return the entries that a run needs to go on, for a checkpoint; arrays are not copied.

        X and Y are data: a checkpoint holds their hash. Settings are hyperparameters.
        """
        stored = {
            "version": 1,
            "W": [None, *self.W[1:]],
            "mean_W": [None, *self.mean_W[1:]],
            "S": [None, *self.S[1:]],
            "metrics": _stored(self.metrics),
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
        if self.output_metrics:
            stored["output_metrics"] = _stored(self.output_metrics)
        return stored

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take over `stored`, a result of `state_dict`, without a copy of its arrays.

        `InputError` names missing and unknown keys, and an unknown version.
        """
        check_state_dict(stored, self.state_dict(), "MiniBatchState")
        self.W[1:], self.mean_W[1:], self.S[1:] = (stored[key][1:] for key in ("W", "mean_W", "S"))
        _load(self.metrics, stored["metrics"])
        if self.output_metrics:
            _load(self.output_metrics, stored["output_metrics"])
        self.output_unit, self.length = stored["output_unit"], stored["length"]
        self.rng.bit_generator.state = stored["rng"]
        self.sample_weight, self.gains = stored["sample_weight"], stored["gains"]
        self.rms_U, self.rms_D = stored["rms_U"], stored["rms_D"]
        self.batch_loss, self.batches = stored["batch_loss"], stored["batches"]
        self.iteration, self.n_total = stored["iteration"], stored["n_total"]

    def make_own(self) -> None:
        """Replace read-only and mapped arrays that batches update by copies; X, Y are only read."""
        copy_borrowed(self, names=UPDATED, mapped=True)
        metrics = [*self.metrics[1:], *self.output_metrics[1:]]
        copy_borrowed(*metrics, names=UPDATED_IN_METRICS, mapped=True)

    def failure(self, what: str) -> FloatingPointError:
        """Return the error of the next batch, which says what happened and what would help."""
        cure = "use a smaller step_size, scale the inputs, or float64"
        return FloatingPointError(f"batch {self.batches + 1}: {what}; {cure}")

    @property
    def dtype(self) -> np.dtype:
        """The type of weights and states, float32 or float64."""
        return np.dtype(self.W[1].dtype)

    @property
    def weights(self) -> list[Any]:
        """The mean weights of layers 1 to L, which make predictions."""
        return self.mean_W[1:]

    @property
    def n(self) -> int:
        """The number of samples of this rank."""
        return len(self.X)


def _stored(metrics: list[Any]) -> list[Any]:
    """Return the entries of the metrics of all layers."""
    return [None, *(metric and metric.state_dict() for metric in metrics[1:])]


def _load(metrics: list[Any], stored: list[Any]) -> None:
    """Take over what `_stored` gave."""
    for metric, own in zip(metrics[1:], stored[1:], strict=True):
        if metric is not None:
            metric.load_state_dict(own)
