"""Deep networks trained by block coordinate descent: compiled, exact and monotone.

Implements Zeng, Lau, Lin and Yao, *Global Convergence of Block Coordinate
Descent in Deep Learning* (ICML 2019). See `Problem`, `TwoSplitting` and `ThreeSplitting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbcd.checkpoints.checkpoint import resume
from fastbcd.data.labels import one_hot
from fastbcd.devices.execution import Execution
from fastbcd.devices.threads import OversubscriptionWarning
from fastbcd.errors import InputError
from fastbcd.models.model import Model
from fastbcd.models.network import Network
from fastbcd.problem import Problem
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.state import State
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.solvers.two_splitting import TwoSplitting
from fastbcd.support.version import __version__
from fastbcd.training.loop import DescentWarning, Result
from fastbcd.warmup import warmup

if TYPE_CHECKING:
    from fastbcd.estimators import BCDClassifier, BCDRegressor

__all__ = [
    "BCDClassifier",
    "BCDRegressor",
    "DescentWarning",
    "Execution",
    "InputError",
    "MiniBatchThreeSplitting",
    "Model",
    "Network",
    "OversubscriptionWarning",
    "Problem",
    "Result",
    "State",
    "ThreeSplitting",
    "TwoSplitting",
    "__version__",
    "one_hot",
    "resume",
    "warmup",
]


def __getattr__(name: str) -> Any:
    """The estimators, imported when they are asked for: only they need scikit-learn."""
    if name in ("BCDClassifier", "BCDRegressor"):
        from fastbcd import estimators

        globals()[name] = getattr(estimators, name)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
