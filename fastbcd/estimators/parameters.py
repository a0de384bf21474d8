"""The common parameters of classifier and regressor."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from sklearn.base import BaseEstimator

from fastbcd.estimators.solvers import AUTO, HIDDEN, MINI_BATCH


@dataclass(eq=False, repr=False)
class Parameters(BaseEstimator):
    """Stores parameters unchanged, as scikit-learn requires; `BCDClassifier` describes them.

    A dataclass, whose constructor has the explicit signature that scikit-learn reads.
    """

    hidden_layer_sizes: Any = HIDDEN
    activation: Any = "relu"
    _: KW_ONLY
    layers: Any = None
    image_shape: Any = None
    loss: Any = "squared"
    solver: str = MINI_BATCH
    residual: bool = False
    gamma: float = 1.0
    rho: float | None = None
    proximal_weight: float | None = None
    weight_penalty: Any = None
    state_penalty: Any = None
    acceleration: str | None = AUTO
    batch_size: int | None = None
    step_size: float | None = None
    schedule: str | None = None
    momentum: float | None = None
    damping: float | None = None
    rank: int | None = None
    output_rank: int | None = None
    weight_decay: float | None = None
    average: float | None = None
    step_unit: str | None = None
    augment: str | None = None
    dropout: float | None = None
    input_noise: float | None = None
    nesterov: bool | None = None
    max_iter: int | None = None
    preprocess: str = "auto"
    early_stopping: Any = AUTO
    validation_fraction: float = 0.1
    n_iter_no_change: int = 10
    tol: float = 1e-4
    warm_start: bool = False
    random_state: Any = None
    dtype: str = "float32"
    device: str = "cpu"
    n_threads: int | None = None
    verbose: bool = False

    def __setstate__(self, stored: dict[str, Any]) -> None:
        # Version 0.1 had no acceleration and no images, so its estimators go on without.
        added = ["acceleration", "layers", "image_shape", "step_unit", "augment"]
        earlier = dict.fromkeys([*added, "output_rank", "dropout", "input_noise", "nesterov"])
        super().__setstate__({**earlier, **stored})
