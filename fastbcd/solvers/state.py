"""The state of a run: every array that block coordinate descent updates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastbcd.solvers.cache import Cache
from fastbcd.solvers.momentum import Momentum
from fastbcd.support.borrowed import copy_borrowed
from fastbcd.support.renamed import renamed
from fastbcd.support.stored import check_state_dict
from fastbcd.training.clock import BlockClock
from fastbcd.training.descent_log import DescentLog


@dataclass
class State:
    """Blocks of the algorithms, indexed by layer as in the paper.

    Attributes
    ----------
    W : list
        ``W[l]`` (d_l, d_{l-1} + 1) for l = 1..L, the bias in the last column; ``W[0]`` is None.
    V : list
        ``V[l]`` (n, d_l) states for l = 0..L; ``V[0]`` is X.
    U : list
        ``U[l]`` (n, d_l) pre-activations for l = 1..L; ``U[0]`` is None. In Algorithm 1 all are
        None.
    Y : array
        (n, d_L) targets.
    iteration : int
        Number of iterations done.
    n_total : int
        Number of samples of all ranks, where V, U and Y hold those of one rank; default: n.
    sample_weight : (n,) float64 array or None
        The weight of each sample, all above 0; None for 1 each.
    sum_of_weights : float or None
        The sum of the weights over the samples of all ranks; None for `n_total`.
    momentum : Momentum or None
        The last difference of iterates, in an accelerated run. Set it to None after a change of
        V, U or W from outside.
    descent_log : DescentLog or None
        If one is set, `step` empties it, and each block adds its decrease of F and squared step.
    clock : BlockClock or None
        If one is set, `step` empties it, and each block adds its seconds.
    cache : Cache
        Data that a solver keeps between iterations, such as the Gram matrix of X. All of it is
        derived from the arrays above and not needed to continue a run. Call ``cache.clear()``
        after a change of X *in place*.
    """

    W: list[Any]
    V: list[Any]
    U: list[Any]
    Y: Any
    iteration: int = 0
    n_total: int = 0
    sample_weight: Any = None
    sum_of_weights: float | None = None
    momentum: Momentum | None = None
    descent_log: DescentLog | None = None
    clock: BlockClock | None = None
    cache: Cache = field(default_factory=Cache, repr=False)

    ledger = renamed("ledger", "descent_log")

    def __post_init__(self) -> None:
        self.n_total = self.n_total or self.n

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "cache": None, "descent_log": None, "clock": None}

    def __setstate__(self, stored: dict[str, Any]) -> None:
        self.__dict__.update(stored, cache=Cache())

    def state_dict(self) -> dict[str, Any]:
        """Return the entries that a run needs to go on, for a checkpoint; arrays are not copied.

        X, Y and the weights of samples are data: a checkpoint holds their hash.
        """
        momentum = {} if self.momentum is None else self.momentum.state_dict()
        return {
            "version": 2 if momentum else 1,
            **momentum,
            "W": [None, *self.W[1:]],
            "V": [None, *self.V[1:]],
            "U": [None, *self.U[1:]],
            "iteration": self.iteration,
            "n_total": self.n_total,
            "sum_of_weights": self.sum_of_weights,
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Take over `stored`, a result of `state_dict`, without a copy of its arrays.

        `InputError` names missing and unknown keys, and an unknown version.
        """
        check_state_dict(stored, self.state_dict(), "State")
        self.W[1:], self.V[1:], self.U[1:] = (stored[name][1:] for name in "WVU")
        self.iteration, self.n_total = stored["iteration"], stored["n_total"]
        self.sum_of_weights = stored["sum_of_weights"]
        if self.momentum is not None:
            self.momentum.load_state_dict(stored)

    def make_own(self) -> None:
        """Replace read-only blocks by copies that `step` can update; X and Y are only read."""
        copy_borrowed(self, self.momentum, names=("W", "V", "U", "W_start"), keep=self.X)

    @property
    def weights(self) -> list[Any]:
        """``W_1, ..., W_L``."""
        return self.W[1:]

    @property
    def X(self) -> Any:
        """Inputs, ``V[0]``."""
        return self.V[0]

    @property
    def dtype(self) -> Any:
        """The type of all arrays of numbers, float32 or float64."""
        return self.W[-1].dtype

    @property
    def total_weight(self) -> float:
        """The sum of the weights of the samples of all ranks."""
        return self.n_total if self.sum_of_weights is None else self.sum_of_weights

    def weight_of(self, rows: slice) -> tuple[Any, ...]:
        """Return ``(weights of the rows,)`` as last argument of kernels; ``()`` if all are 1."""
        return () if self.sample_weight is None else (self.sample_weight[rows],)

    @property
    def n(self) -> int:
        """The number of samples of this rank."""
        return len(self.V[0])
