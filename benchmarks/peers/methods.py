"""The methods that are compared: name -> how to make one, and what it is called in the table.

The constructor of a method takes the samples, the widths and its settings. It does all work that is
not training, such as compilation. `start` makes network and variables, and `one_pass` trains with
every sample once; both are on the clock. `predict` returns classes. `monitor` is optional: it does
what the authors of the method evaluate after each pass. `passes` is the length of the schedule or
None.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mnist import Samples
from numpy.typing import NDArray


class Method(Protocol):
    """See the head of this file."""

    threads: int
    blas: str

    def start(self) -> None: ...

    def one_pass(self) -> None: ...

    def predict(self, X: NDArray[Any]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Entry:
    """Module and class of a method, the package it needs, and its settings."""

    label: str
    module: str
    class_name: str
    package: str
    settings: dict[str, Any] = field(default_factory=dict)

    def make(self, samples: Samples, hidden: tuple[int, ...], settings: dict[str, Any]) -> Method:
        """The method, with `settings` in place of those of the table where given."""
        widths = (samples.X.shape[1], *hidden, samples.n_classes)
        # By name and only now: a process loads no package but its own method's.
        made = getattr(importlib.import_module(self.module), self.class_name)
        return made(samples, widths, **{**self.settings, **settings})


# Rates and batch sizes: `OMP_NUM_THREADS=1 python benchmarks/peers/tune.py --mnist FOLDER`;
# accuracy on the held-out samples after two passes, processor seconds for both:
#     adam           3e-4, 128: 0.9744, 55 s    1e-3, 128: 0.9689, 57 s
#                    3e-4, 512: 0.9701, 49 s    1e-3, 512: 0.9729, 54 s
#     sgd            0.03, 128: 0.9742, 60 s    0.1, 128: 0.9710, 66 s    0.3, 128: diverges
#                    0.03, 512: 0.9662, 53 s    0.1, 512: 0.9732, 54 s    0.3, 512: diverges
#     mlpclassifier  3e-4, 200: 0.9713, 68 s    1e-3, 200: 0.9746, 63 s
#                    3e-4, 500: 0.9722, 47 s    1e-3, 500: 0.9766, 49 s
# Winners at the edge of their grid, one step beyond it: adam 1e-4, 128: 0.9716; sgd 0.01, 128:
# 0.9687; mlpclassifier 3e-3, 500: 0.9712 and 1e-3, 1000: 0.9749. Smaller batches were not tried.
METHODS = {
    "three-splitting": Entry(
        "fastbcd, three-splitting, published setting", "own", "Three", "fastbcd"
    ),
    "two-splitting": Entry("fastbcd, two-splitting, defaults", "own", "Two", "fastbcd"),
    "mini-batch": Entry(
        "fastbcd, mini-batches of 500, 10 passes", "own", "Mini", "fastbcd", {"passes": 10}
    ),
    "published": Entry("published BCD in PyTorch", "reference", "Published", "torch"),
    "adam": Entry("PyTorch Adam", "gradient", "Adam", "torch", {"rate": 3e-4, "batch": 128}),
    "muon": Entry("PyTorch Muon", "gradient", "Muon", "torch", {"rate": 0.02, "batch": 128}),
    "sgd": Entry(
        "PyTorch SGD, Nesterov momentum", "gradient", "SGD", "torch", {"rate": 0.03, "batch": 128}
    ),
    "soap": Entry("SOAP", "gradient", "SOAP", "pytorch_optimizer", {"rate": 3e-3, "batch": 128}),
    "shampoo": Entry(
        "Shampoo", "gradient", "Shampoo", "pytorch_optimizer", {"rate": 0.1, "batch": 128}
    ),
    "schedule-free": Entry(
        "schedule-free AdamW",
        "gradient",
        "ScheduleFree",
        "schedulefree",
        {"rate": 3e-3, "batch": 128, "schedule": "constant"},
    ),
    "mlpclassifier": Entry(
        "scikit-learn MLPClassifier", "scikit", "MLP", "sklearn", {"rate": 1e-3, "batch": 500}
    ),
}


def packages(names: Iterable[str]) -> dict[str, str]:
    """The package that each method needs."""
    return {name: METHODS[name].package for name in names}


# The methods of the table of `__main__`; `race.py` compares the others.
COMPARED = (
    "three-splitting",
    "two-splitting",
    "mini-batch",
    "published",
    "adam",
    "sgd",
    "mlpclassifier",
)
