"""The common parameters of classifier and regressor."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from fastbcd.estimators.solvers import AUTO, HIDDEN, MINI_BATCH


class Parameters(BaseEstimator):
    """Stores parameters unchanged, as scikit-learn requires; `BCDClassifier` describes them."""

    def __init__(
        self,
        hidden_layer_sizes: Any = HIDDEN,
        activation: Any = "relu",
        *,
        layers: Any = None,
        image_shape: Any = None,
        loss: Any = "squared",
        solver: str = MINI_BATCH,
        residual: bool = False,
        gamma: float = 1.0,
        rho: float | None = None,
        proximal_weight: float | None = None,
        weight_penalty: Any = None,
        state_penalty: Any = None,
        acceleration: str | None = AUTO,
        batch_size: int | None = None,
        step_size: float | None = None,
        schedule: str | None = None,
        momentum: float | None = None,
        damping: float | None = None,
        rank: int | None = None,
        weight_decay: float | None = None,
        average: float | None = None,
        step_unit: str | None = None,
        augment: str | None = None,
        dropout: float | None = None,
        input_noise: float | None = None,
        max_iter: int | None = None,
        preprocess: str = "auto",
        early_stopping: Any = AUTO,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        random_state: Any = None,
        dtype: str = "float32",
        device: str = "cpu",
        n_threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.layers = layers
        self.image_shape = image_shape
        self.loss = loss
        self.solver = solver
        self.residual = residual
        self.gamma = gamma
        self.rho = rho
        self.proximal_weight = proximal_weight
        self.weight_penalty = weight_penalty
        self.state_penalty = state_penalty
        self.acceleration = acceleration
        self.batch_size = batch_size
        self.step_size = step_size
        self.schedule = schedule
        self.momentum = momentum
        self.damping = damping
        self.rank = rank
        self.weight_decay = weight_decay
        self.average = average
        self.step_unit = step_unit
        self.augment = augment
        self.dropout = dropout
        self.input_noise = input_noise
        self.max_iter = max_iter
        self.preprocess = preprocess
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.dtype = dtype
        self.device = device
        self.n_threads = n_threads
        self.verbose = verbose

    def __setstate__(self, stored: dict[str, Any]) -> None:
        # Version 0.1 had no acceleration and no images, so its estimators go on without.
        added = ["acceleration", "layers", "image_shape", "step_unit", "augment"]
        earlier = dict.fromkeys([*added, "dropout", "input_noise"])
        super().__setstate__({**earlier, **stored})
