"""From an estimator's parameters to its solver, which refuses parameters of other solvers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from fastbcd.data.augmentation import Augmentation
from fastbcd.errors import InputError
from fastbcd.layers import Dense, Layer, build_layers
from fastbcd.layers.specification import needs_images
from fastbcd.problem import Problem
from fastbcd.solvers.acceleration import ACCELERATIONS
from fastbcd.solvers.defaults import (
    ACCELERATION,
    ALPHA,
    FULL_BATCH,
    MINI_BATCH_PARAMETERS,
    WEIGHT_PENALTY,
    AnySolver,
)
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.support.parameters import choice, flag, optional, plain, require, require_integer

AUTO = "auto"
HIDDEN = (128, 128)
MINI_BATCH = "mini-batch"
SOLVERS = (MINI_BATCH, *FULL_BATCH)

# Parameters of one kind of solver; None stands for its default. The default of `acceleration` is
# "auto", because None is the plain procedure.
MINI_BATCH_ONLY = ("batch_size", *MINI_BATCH_PARAMETERS)
FULL_BATCH_ONLY = ("proximal_weight", "state_penalty")
# It is not called alpha, because scikit-learn's checks set any parameter of that name to 0.01, as
# if it were a penalty on weights.
FULL_BATCH_USUAL = {"proximal_weight": ALPHA, "weight_penalty": WEIGHT_PENALTY}

# With fewer products of samples and weights than this, threads would wait for each other.
WORTH_A_THREAD = 2e7


def check_solver(parameters: dict[str, Any]) -> bool:
    """Return whether the solver takes mini-batches; `InputError` for a parameter of another solver.

    Wrong values are refused, too, even of parameters that the current call does not use.
    """
    flag(parameters["warm_start"], "warm_start")
    stops_early(parameters["early_stopping"])
    optional(require_integer, parameters["max_iter"], "max_iter", at_least=1)
    require_integer(parameters["n_iter_no_change"], "n_iter_no_change", at_least=1)
    require(parameters["tol"], "tol", at_least=0)
    check_fraction(parameters["validation_fraction"])
    solver = choice(parameters["solver"], SOLVERS, "solver")
    acceleration = plain(parameters["acceleration"])
    if acceleration is not None:
        choice(acceleration, (AUTO, *ACCELERATIONS), "acceleration")
    mini_batch = solver == MINI_BATCH
    for name in FULL_BATCH_ONLY if mini_batch else MINI_BATCH_ONLY:
        if parameters[name] is not None:
            others = FULL_BATCH if mini_batch else (MINI_BATCH,)
            raise InputError(
                f"{name} belongs to the solver {' or '.join(others)}, but solver is {solver!r}; "
                "leave it at None"
            )
    if mini_batch and acceleration not in (AUTO, None):
        raise InputError(
            f"acceleration belongs to the solver {' or '.join(FULL_BATCH)}, but solver is "
            f"{solver!r}; leave it at {AUTO!r}"
        )
    return mini_batch


def stops_early(given: Any) -> bool:
    """Return ``early_stopping`` as a bool; False for "auto", with which trials may be held."""
    if isinstance(plain(given), str) and plain(given) == AUTO:
        return False
    try:
        return flag(given, "early_stopping")
    except InputError:
        raise InputError(f"early_stopping must be True, False or 'auto', got {given!r}") from None


def check_fraction(given: Any) -> float:
    """Return ``validation_fraction`` as a float between 0 and 1, both excluded."""
    fraction = require(given, "validation_fraction", at_least=0, at_most=1)
    if not 0.0 < fraction < 1.0:
        raise InputError(f"validation_fraction must lie between 0 and 1, got {fraction}")
    return fraction


def hidden_widths(given: Any) -> tuple[int, ...]:
    """Return ``hidden_layer_sizes`` as a tuple; one number stands for one layer."""
    given = plain(given)
    if isinstance(given, str):
        raise InputError(f"hidden_layer_sizes must be whole numbers, got {given!r}")
    widths = given if isinstance(given, Iterable) else [given]
    return tuple(require_integer(d, "hidden_layer_sizes", at_least=1) for d in widths)


def make_layers(parameters: dict[str, Any], n_features: int, n_outputs: int) -> list[Layer]:
    """Return the layers that ``layers`` or ``hidden_layer_sizes`` names.

    ``image_shape`` of these `parameters` is that of an input, or None if it is no image.
    """
    hidden, shape = hidden_widths(parameters["hidden_layer_sizes"]), parameters["image_shape"]
    if parameters["layers"] is None:
        if shape is not None:
            raise InputError("image_shape needs layers, because others do not know of images")
        widths = (n_features, *hidden, n_outputs)
        return [Dense(below, own) for below, own in pairwise(widths)]
    if hidden != HIDDEN:
        raise InputError(
            f"layers and hidden_layer_sizes={hidden} both name the hidden layers; give only one"
        )
    try:
        return build_layers(parameters["layers"], shape or (n_features,), n_outputs)
    except InputError as error:
        if shape is None and needs_images(parameters["layers"]):
            raise InputError(
                f"{error}: X may be (n, H, W, C), or rows (n, d) with image_shape=(H, W, C)"
            ) from None
        raise


def make_solver(
    parameters: dict[str, Any], n_features: int, n_outputs: int, samples: int
) -> AnySolver:
    """Make the solver for so many `samples`."""
    parameters = {name: plain(value) for name, value in parameters.items()}
    mini_batch = check_solver(parameters)
    layers = make_layers(parameters, n_features, n_outputs)
    usual = {} if mini_batch else FULL_BATCH_USUAL
    given = {**usual, **{name: value for name, value in parameters.items() if value is not None}}
    problem = Problem(
        (n_features, *(layer.d_out for layer in layers)),
        layers=layers,
        activation=parameters["activation"],
        loss=parameters["loss"],
        gamma=parameters["gamma"],
        residual=parameters["residual"],
        **_some(given, ("weight_penalty", "state_penalty")),
        **_some(given, () if mini_batch else ("rho",)),
    )
    machine: dict[str, Any] = {name: given.get(name) for name in ("dtype", "device", "n_threads")}
    if not mini_batch:
        alpha = require(given["proximal_weight"], "proximal_weight", at_least=0)
        acceleration = parameters["acceleration"]
        acceleration = ACCELERATION if acceleration == AUTO else acceleration
        solver_class = FULL_BATCH[given["solver"]]
        return solver_class(problem, alpha=alpha, acceleration=acceleration, **machine)
    options = _some(given, ("rho", *MINI_BATCH_ONLY))
    if "augment" in options:
        options["augment"] = _augmentation(parameters)
    solver = MiniBatchThreeSplitting(problem, **options, **machine)
    if "n_threads" not in given and not worth_threads(layers, solver.settings(samples).batch_size):
        solver = MiniBatchThreeSplitting(problem, **options, **machine | {"n_threads": 1})
    return solver


def _augmentation(parameters: dict[str, Any]) -> Augmentation:
    """Return the augmentation that ``augment`` names, for images of the shape ``image_shape``."""
    if parameters["layers"] is None:
        raise InputError(
            "augment needs layers, such as layers='dense:128,dense:128', because other networks do "
            "not know of images"
        )
    if parameters["image_shape"] is None:
        raise InputError(
            "augment needs the shape of images: X may be (n, H, W, C), or rows (n, d) with "
            "image_shape=(H, W, C)"
        )
    return Augmentation(parameters["augment"], parameters["image_shape"])


def worth_threads(layers: Iterable[Layer], samples: int) -> bool:
    """Whether so many `samples` keep more than one thread busy; no result depends on it."""
    return samples * float(sum(layer.multiplications for layer in layers)) > WORTH_A_THREAD


def _some(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}
