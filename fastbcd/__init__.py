"""Deep networks trained by block coordinate descent: compiled, exact and monotone.

Implements Zeng, Lau, Lin and Yao, *Global Convergence of Block Coordinate
Descent in Deep Learning* (ICML 2019). See `Problem`, `TwoSplitting` and `ThreeSplitting`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastbcd.checkpoint import resume
from fastbcd.devices.threads import OversubscriptionWarning
from fastbcd.errors import InputError
from fastbcd.fit import DescentWarning, Result
from fastbcd.labels import one_hot
from fastbcd.mini_batch import MiniBatchThreeSplitting
from fastbcd.model import Model
from fastbcd.network import Network
from fastbcd.problem import Problem
from fastbcd.state import State
from fastbcd.three_splitting import ThreeSplitting
from fastbcd.two_splitting import TwoSplitting
from fastbcd.warmup import warmup

if TYPE_CHECKING:
    from fastbcd.estimators import BCDClassifier, BCDRegressor

__version__ = "0.1.0"

__all__ = [
    "BCDClassifier",
    "BCDRegressor",
    "DescentWarning",
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
