"""The promises of the theorems, compared with what a run measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastbcd.support.floating_point import own_errstate_in
from fastbcd.support.stored import load_attributes, state_dict_of

# By how much rounding may raise F, relative to F: sums of squares in the storage type.
ROUNDING = {"float32": 1e-7, "float64": 1e-12}
# How much of W's last step an accelerated iteration takes once more, and the factor that this gives
# to the bound of the rate; see docs/mathematics.md.
THETA = 0.9
ACCELERATED = (1.0 + 2.0 / (1.0 - THETA)) ** 2
# Keys in a file, those of attributes whose names begin with an underscore, and all attributes.
KEYS = (
    *("dtype", "promised", "floor", "start", "tracked", "evaluated", "first_iteration"),
    *("iterations", "largest_rise", "largest_bound", "tracking_error", "smallest_decrease"),
    *("rising", "failing", "stuck", "measured", "squared"),
)
PRIVATE = {"evaluated", "first_iteration", "rising", "failing", "stuck", "measured", "squared"}
STORED = {key: f"_{key}" if key in PRIVATE else key for key in KEYS}


@own_errstate_in
class Certificate:
    """Compares a run with the promises of Theorems 1 to 3; `str` puts the result in words.

    .. code-block:: text

        descent              F never rises
        sufficient decrease  F(P') - F(P) >= a |P - P'|^2, with the a that alpha and gamma imply
        relative error       a subgradient g at P has |g| <= b |P - P'|, for some b
        rate                 mean_{t <= T} |g^t|^2 <= C / T, with C = b^2 / a (F^0 - F^T)

    An accelerated iteration starts from a point Q. Its relative error is
    ``|g| <= b (|P - P'| + |Q - P'|)``, and C is larger by the factor `ACCELERATED`; see
    docs/mathematics.md.

    Parameters
    ----------
    dtype : str
    promised : float
        The a that the theorem implies for this solver; 0 where it implies none.
    start : float
        F before the first iteration.
    iteration : int, default=0
        Iterations done before.
    floor : float, default=0
        Changes of F below this size count as rounding, however small F is.
    accelerated : bool, default=False
        The run is accelerated.

    Attributes
    ----------
    largest_rise : float
        Largest rise of F in an iteration, relative to F; 0 where it never rose.
    smallest_decrease : float
        The a that was attained: smallest ratio of decrease and squared step, over iterations
        in which the promised decrease is more than rounding; infinite without one.
    largest_bound : float
        The b that was attained: largest ratio of subgradient and step.
    tracking_error : float
        Largest difference of F tracked by decreases and F evaluated, relative to F at the
        evaluation before.
    """

    def __init__(
        self,
        dtype: str,
        promised: float,
        start: float,
        iteration: int = 0,
        floor: float = 0.0,
        accelerated: bool = False,
    ) -> None:
        self.dtype, self.promised, self.floor = dtype, promised, floor
        self.accelerated = accelerated
        self.start = self.tracked = self._evaluated = start
        self._first_iteration = iteration
        self.iterations = 0
        self.largest_rise = self.largest_bound = self.tracking_error = 0.0
        self.smallest_decrease = math.inf
        self._rising = self._failing = self._stuck = 0
        self._measured: list[int] = []
        self._squared: list[float] = []

    def add(
        self,
        iteration: int,
        decrease: float,
        squared_step: float,
        objective: float | None = None,
        squared_subgradient: float | None = None,
        squared_extrapolation: float = 0.0,
    ) -> dict[str, float]:
        """Add an iteration; return its row of the history, with NaN where nothing was measured.

        Parameters
        ----------
        iteration : int
        decrease : float
            By how much F fell; the sum of what the blocks report.
        squared_step : float
            ``|P - P'|^2``.
        objective : float, optional
            F, where it was evaluated.
        squared_subgradient : float, optional
            ``|g|^2``, where it was measured.
        squared_extrapolation : float, default=0
            ``|Q - P'|^2`` of an accelerated iteration, or a bound of it.

        Raises
        ------
        FloatingPointError
            A number is not finite.
        """
        given = (decrease, squared_step, objective or 0.0, squared_subgradient or 0.0)
        if not (math.isfinite(self.start) and all(map(math.isfinite, given))):
            raise FloatingPointError(
                f"the certificate ends at iteration {iteration}: the objective, a step or a "
                f"subgradient is not finite in {self.dtype}; scale the inputs or use float64"
            )
        # The tracked F may drift below F; the F that was evaluated last tells how large F was.
        eps = float(np.finfo(self.dtype).eps)
        scale = max(abs(self.tracked), eps * abs(self._evaluated), np.finfo(np.float64).tiny)
        noise = ROUNDING[self.dtype] * scale + self.floor
        self.tracked = tracked = self.tracked - decrease
        self.iterations += 1
        rise = -decrease
        if objective is not None:
            if self._evaluated > 0.0:
                error = (abs(tracked - objective) - self.floor) / self._evaluated
                self.tracking_error = max(self.tracking_error, error)
            rise = max(rise, objective - self._evaluated)
            self.tracked = self._evaluated = objective
        if rise > self.floor:
            self.largest_rise = max(self.largest_rise, rise / scale)
        self._rising += not rise <= noise

        ratio = decrease / squared_step if squared_step > 0.0 else math.nan
        self._failing += not decrease >= self.promised * squared_step - noise
        if self.promised * squared_step > noise:
            self.smallest_decrease = min(self.smallest_decrease, ratio)
        row = {
            "tracked_objective": tracked,
            "decrease": decrease,
            "step": math.sqrt(squared_step),
            "sufficient_decrease": ratio,
        }
        if squared_subgradient is not None:
            reach = math.sqrt(squared_step) + math.sqrt(squared_extrapolation)
            row |= self._add_subgradient(iteration, reach, squared_subgradient)
        return row

    def _add_subgradient(self, iteration: int, reach: float, squared: float) -> dict[str, float]:
        self._measured.append(iteration - self._first_iteration)
        self._squared.append(squared)
        bound = math.nan
        if reach > 0.0:
            bound = math.sqrt(squared) / reach
            self.largest_bound = max(self.largest_bound, bound)
        else:
            # A step of zero is allowed at a critical point only.
            self._stuck += squared > ROUNDING[self.dtype] * self._squared[0]
        return {
            "subgradient": math.sqrt(squared),
            "subgradient_bound": bound,
            "mean_squared_subgradient": float(np.mean(self._squared)),
        }

    @property
    def descended(self) -> bool:
        """Whether F never rose by more than rounding."""
        return self._rising == 0

    @property
    def decreased_sufficiently(self) -> bool | None:
        """Whether F always fell by the promised multiple of the squared step; None without one."""
        return self._failing == 0 if self.promised > 0.0 else None

    @property
    def mean_squared_subgradient(self) -> float:
        """Mean of ``|g^t|^2`` over the iterations where it was measured; NaN without one."""
        return float(np.mean(self._squared)) if self._squared else math.nan

    @property
    def rate(self) -> float:
        """Exponent p of ``mean_{t <= T} |g^t|^2 ~ T^p``, fitted to the second half of the run.

        The O(1/T) of the theorem is p = -1. No run can fall faster in the long term, because the
        mean of T numbers keeps 1/T of the first. NaN with fewer than four measurements.
        """
        if len(self._squared) < 4 or self._squared[0] <= 0.0:
            return math.nan
        means = np.cumsum(self._squared) / np.arange(1, len(self._squared) + 1)
        half = len(means) // 2
        slope, _ = np.polyfit(np.log(self._measured[half:]), np.log(means[half:]), 1)
        return float(slope)

    @property
    def rate_bound(self) -> float:
        """``b^2 / (a M) (F^0 - F^T)``, the bound of the mean of M numbers by a and b; or NaN.

        It is larger by the factor `ACCELERATED` in an accelerated run.
        """
        a, b, fall = self.smallest_decrease, self.largest_bound, self.start - self.tracked
        if not (0.0 < a < math.inf and b > 0.0 and fall > 0.0):
            return math.nan
        return (ACCELERATED if self.accelerated else 1.0) * b * b / (a * len(self._squared)) * fall

    def state_dict(self) -> dict[str, Any]:
        """All numbers so far, for a checkpoint; its lists are those of this object."""
        return state_dict_of(self, STORED, version=1)

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from `stored`, which `state_dict` gave; `InputError` names keys that are wrong."""
        load_attributes(self, stored, STORED)

    def as_dict(self) -> dict[str, Any]:
        """Numbers and verdicts, for summary.json; None where a number was not measured."""
        numbers: dict[str, Any] = {
            "iterations": self.iterations,
            "largest_rise": self.largest_rise,
            "promised_decrease": self.promised,
            "smallest_decrease": self.smallest_decrease,
            "largest_bound": self.largest_bound,
            "mean_squared_subgradient": self.mean_squared_subgradient,
            "rate": self.rate,
            "tracking_error": self.tracking_error,
        }
        finite = {k: v if math.isfinite(v) else None for k, v in numbers.items()}
        return {
            "descended": self.descended,
            "decreased_sufficiently": self.decreased_sufficiently,
            **finite,
            "in_words": str(self).splitlines(),
        }

    def __str__(self) -> str:
        if self.iterations == 0:
            return "no iteration was done, so there is nothing to certify"
        return "\n".join([self._descent(), self._decrease(), self._relative_error(), self._rate()])

    def _descent(self) -> str:
        fall = f"F fell from {self.start:.6g} to {self.tracked:.6g}"
        if self.largest_rise <= 0.0:
            return f"descent held: {fall} and never rose in {self.iterations} iterations"
        if self.descended:
            return (
                f"descent held up to rounding: {fall}; the largest rise was "
                f"{self.largest_rise:.2g} of F"
            )
        return (
            f"descent FAILED: F rose in {self._rising} of {self.iterations} iterations, by up to "
            f"{self.largest_rise:.2g} of F; use float64 or a larger alpha"
        )

    def _decrease(self) -> str:
        if self.promised <= 0.0:
            return "sufficient decrease: promised only where alpha and alpha_weights are above 0"
        if math.isinf(self.smallest_decrease) and not self._failing:
            return "sufficient decrease: every step was too small to tell it from rounding"
        measured = f"{self.smallest_decrease:.3g} |P - P'|^2 at least, {self.promised:.3g} promised"
        if self._failing:
            return f"sufficient decrease FAILED in {self._failing} iterations: {measured}"
        return f"sufficient decrease held: F fell by {measured}"

    def _relative_error(self) -> str:
        if not self._squared:
            return "relative error: no subgradient was measured"
        norms = np.sqrt(self._squared)
        went = f"|g| went from {norms[0]:.3g} to {norms[-1]:.3g}"
        if self._stuck:
            return f"relative error FAILED in {self._stuck} iterations without a step; {went}"
        reach = "(|P - P'| + |Q - P'|)" if self.accelerated else "|P - P'|"
        return f"relative error held with b = {self.largest_bound:.3g}: |g| <= b {reach}; {went}"

    def _rate(self) -> str:
        if math.isnan(self.rate):
            return "rate: four subgradients are needed, the first above 0"
        allowed = (
            f", where the two ratios allow {self.rate_bound:.3g}"
            if math.isfinite(self.rate_bound)
            else ""
        )
        return (
            f"rate: the mean of |g|^2 is {self.mean_squared_subgradient:.3g}{allowed}, and falls "
            f"like T^{self.rate:.2f} (promised: T^-1)"
        )
