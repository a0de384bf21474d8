"""Options of ``fastbcd train`` that describe the solver, and the solver that they describe."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from fastbcd.cli.batches import AUTO, FULL, batch_size, takes_full_batches
from fastbcd.cli.parser import option_of
from fastbcd.data.augmentation import Augmentation
from fastbcd.data.inputs import check_same_shape
from fastbcd.devices import DEVICES, PRECISIONS, get_device
from fastbcd.errors import InputError
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES
from fastbcd.layers import Dense, Layer, build_layers
from fastbcd.layers.specification import forms, needs_images
from fastbcd.problem import REDUCTIONS, Problem
from fastbcd.problem.initialization import INITIALIZATIONS
from fastbcd.problem.requirements import LOSS_UPDATES
from fastbcd.solvers.acceleration import ACCELERATIONS
from fastbcd.solvers.defaults import (
    ACCELERATION,
    ALPHA,
    FULL_BATCH,
    ITERATIONS,
    WEIGHT_PENALTY,
    AnySolver,
)
from fastbcd.solvers.mini_batch import MiniBatchThreeSplitting
from fastbcd.solvers.mini_batch.schedule import SCHEDULES
from fastbcd.solvers.three_splitting import ThreeSplitting
from fastbcd.solvers.two_splitting import TwoSplitting
from fastbcd.support.parameters import DTYPES, check_dtype

# Algorithm 3 is Algorithm 2 with residual layers, so one solver serves both.
ALGORITHMS: dict[str, type[ThreeSplitting] | type[TwoSplitting]] = {
    **FULL_BATCH,
    "resnet": ThreeSplitting,
}

# Defaults of full batches, for options that have another default on mini-batches, or none.
FULL_BATCH_DEFAULTS: dict[str, Any] = {
    "alpha": ALPHA,
    "weight_penalty": WEIGHT_PENALTY,
    "loss_update": "prox",
    "acceleration": ACCELERATION,
    "init": "he",
    "bias": 0.0,
    "epochs": ITERATIONS,
}
MINI_BATCH_DEFAULTS: dict[str, Any] = {"weight_penalty": "none", "schedule": "cosine"}
HIDDEN = "512,512"
LOSS, LOSS_OF_LABELS = "squared", "logistic_ovr"

# Options of mini-batches: type and help. The solver has their defaults.
MINI_BATCH_OPTIONS: dict[str, tuple[type, str]] = {
    "step_size": (float, "default: by batch size and number of plain layers; 0.65 for one layer"),
    "schedule": (str, f"of the step size, one of {', '.join(SCHEDULES)}; default: cosine"),
    "momentum": (float, "default: 0.9, or less for batches above 500"),
    "nesterov": (bool, "the step of W looks ahead by one batch"),
    "damping": (
        float,
        "proximal weight of W, in units of the mean eigenvalue of the Gram matrix; default: 5, "
        "or less for batches above 500, or 25 for a table with other columns than numbers; see "
        "--no-trials",
    ),
    "rank": (int, "number of directions in the metric; default: 16, or more for batches above 500"),
    "output_rank": (
        int,
        "number of directions of a layer's updates in which its step is shorter, because the "
        "updates of many samples agree there; default: 0",
    ),
    "weight_decay": (float, "default: 0.02"),
    "step_unit": (
        str,
        "what a step size of 1 stands for: fit, the least-squares fit of a batch's updates; "
        "output, a change of rms 1 of the layers' outputs; or spectral, such a change that is "
        "spread over all directions of the outputs; default: output with convolutions, else fit",
    ),
    "augment": (
        str,
        "random moves of the images of a batch, for --layers: crop:P, shifts by up to P rows and "
        "columns; flip, mirror images; or crop:P,flip; default: none",
    ),
    "dropout": (
        float,
        "share of the outputs of hidden layers that are 0 in a batch, by chance; not for residual "
        "networks; default: 0",
    ),
    "input_noise": (
        float,
        "standard deviation of normal noise on the scaled inputs of a batch; default: 0",
    ),
    "average": (float, "decay of the running mean of the weights, which predicts; default: 0.98"),
}


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe the solver to `parser`."""
    add = parser.add_argument
    add(
        "--algorithm",
        choices=list(ALGORITHMS),
        default="three-splitting",
        help="which algorithm of the paper; two-splitting has full batches only",
    )
    add(
        "--batch-size",
        type=batch_size,
        metavar="M",
        help=f"samples of a batch; {AUTO}: a fortieth of all, between 16 and 500; {FULL}: all "
        f"samples in each iteration, as in the paper. Default: {AUTO}, but {FULL} for "
        "two-splitting, or if an option of full batches is given, such as --certify",
    )
    add(
        "--hidden",
        metavar="D1,D2,...",
        help=f"widths of the hidden layers; default: {HIDDEN}, or 64,64 for a table with other "
        "columns than numbers",
    )
    add(
        "--layers",
        metavar="LAYER,LAYER,...",
        help=f"hidden layers of several types, in place of --hidden: {forms()}; a size is a number "
        "or HEIGHTxWIDTH",
    )
    add(
        "--image-shape",
        metavar="H,W[,C]",
        help="for --layers: shape of the images in the rows of DATA, channels last; default: that "
        "of DATA's arrays or files",
    )
    add("--activation", default="relu", metavar="NAME", help=f"one of {', '.join(ACTIVATIONS)}")
    add(
        "--loss",
        metavar="NAME",
        help=f"one of {', '.join(LOSSES)}; default: {LOSS}, or {LOSS_OF_LABELS} for several "
        "labels, or on mini-batches cross_entropy for classes of a table with other columns "
        "than numbers and less than 20,000 training rows",
    )
    add("--gamma", type=float, default=1.0, help="weight of the couplings")
    add("--rho", type=float, help="weight of the linear coupling; default: 16, or gamma on full "
        "batches")  # fmt: skip
    add(
        "--weight-penalty",
        metavar="NAME",
        help=f"one of {', '.join(PENALTIES)}; layers may differ, separated by slashes: "
        "l1:1e-4/none/none; default: none, because mini-batches have --weight-decay, or "
        f"{FULL_BATCH_DEFAULTS['weight_penalty']} on full batches",
    )
    add("--reduction", choices=REDUCTIONS, default="mean", help="F is a mean or a sum over the "
        "samples; on mini-batches this changes only the F that is shown")  # fmt: skip
    add("--epochs", type=int, help="passes over the data; default: as trials choose, or else "
        f"10, or as many as make 1200 batches; {ITERATIONS} on full batches")  # fmt: skip
    add("--device", choices=list(DEVICES), default="cpu", help="where to compute")
    add("--precision", choices=PRECISIONS, default="float32", help="precision of products on a "
        "GPU; bf16 also for mini-batches on a processor with AVX512-BF16")  # fmt: skip
    add("--dtype", choices=DTYPES, default="float32", help="type of states, weights and products")
    add("--threads", type=int, help="number of threads; default: as many as BLAS would use; "
        "under mpiexec each rank has its share of the processors")  # fmt: skip
    add("--tile-rows", type=int, metavar="K", help="samples in the cache at a time; a rank holds a "
        "whole multiple of them; default: by the cache's size")  # fmt: skip
    mini = parser.add_argument_group(
        "mini-batches", "three-splitting and resnet on one batch at a time: they learn in fewer "
        "passes, but the objective may rise in some of them"
    )  # fmt: skip
    for option, (kind, text) in MINI_BATCH_OPTIONS.items():
        if kind is bool:
            mini.add_argument(option_of(option), action="store_true", default=None, help=text)
        else:
            mini.add_argument(option_of(option), type=kind, help=text)
    _add_full_batch_options(parser)


def _add_full_batch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of full batches; each of them chooses ``--batch-size full``."""
    add = parser.add_argument_group(
        f"full batches (--batch-size {FULL})", "the algorithms of the paper on all samples at "
        "once: the objective falls in every iteration. Each of these options chooses full batches"
    ).add_argument  # fmt: skip
    add("--alpha", type=float, help=f"weight of the proximal terms; {_default('alpha')}")
    add("--alpha-weights", type=float, help="the same for weights; default: alpha")
    add(
        "--acceleration",
        choices=[*ACCELERATIONS, "none"],
        help="where an iteration starts. nesterov goes on in the direction of the last iteration, "
        "and F falls faster; none starts from the last point, as published; "
        f"{_default('acceleration')}",
    )
    add("--state-penalty", default="none", metavar="NAME", help="as --weight-penalty, for states "
        "V_l")  # fmt: skip
    add(
        "--loss-update",
        choices=LOSS_UPDATES,
        help=f"block V_L with the exact or the linearised loss; {_default('loss_update')}",
    )
    add(
        "--inner-steps",
        type=int,
        help="two-splitting: surrogate steps per nonlinear block; default: 1",
    )
    names = ", ".join(INITIALIZATIONS)
    add("--init", metavar="NAME", help=f"initial weights, one of {names}; {_default('init')}")
    add("--bias", type=float, help=f"initial value of the biases; {_default('bias')}")
    add("--certify", type=int, metavar="EVERY", help="measure what the theorems promise in every "
        "iteration, and the subgradient in every EVERY-th")  # fmt: skip


def tile_rows_of(options: argparse.Namespace, n_ranks: int) -> Callable[[int], int]:
    """A function from the number of features to the samples in a tile; it needs no solver.

    On mini-batches it gives 1, because their samples are shuffled anyway. With ``--layers``, whose
    widths follow from the shape of images, several ranks need ``--tile-rows``.
    """
    hidden, dtype = _hidden(options), check_dtype(options.dtype)
    by_widths = takes_full_batches(options) and options.tile_rows is None
    if options.layers is not None and by_widths and n_ranks > 1:
        raise InputError("--layers on several ranks needs --tile-rows, the samples of a tile")

    def tile_rows(n_features: int) -> int:
        if not takes_full_batches(options):
            return 1
        device = get_device(options.device, options.threads, options.tile_rows)
        return device.tile_rows((n_features, *hidden, 1), dtype)

    return tile_rows


def _hidden(options: argparse.Namespace) -> list[int]:
    """Widths of the hidden layers that ``--hidden`` names, HIDDEN if there is no ``--layers``."""
    if options.layers is not None:
        if options.hidden is not None:
            raise InputError("--hidden does not go with --layers; give only one")
        return []
    if options.hidden is None:
        options.hidden = HIDDEN
    parts = options.hidden.split(",") if options.hidden else []
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--hidden must be widths separated by commas, got {options.hidden!r}")
    return [int(width) for width in parts]


def image_shape_of(
    options: argparse.Namespace, known: tuple[int, ...] | None, d: int
) -> tuple[int, ...] | None:
    """The shape of an image: that of ``--image-shape``, else the `known` one of the data.

    Raises
    ------
    InputError
        The option is no shape of d numbers, differs from the known shape, or has no use.
    """
    given = options.image_shape
    if given is None:
        return known
    if options.layers is None:
        raise InputError("--image-shape needs --layers: other layers do not know of images")
    sizes = given.split(",")
    if len(sizes) not in (2, 3) or not all(size.isdecimal() for size in sizes):
        raise InputError(f"--image-shape must be H,W or H,W,C, got {given!r}")
    shape = tuple(map(int, sizes))
    if known is not None:
        check_same_shape(shape, known, "--image-shape: images are", "DATA has")
    if math.prod(shape) != d:
        raise InputError(
            f"--image-shape: an image of {given} has {math.prod(shape)} numbers, but a sample {d}"
        )
    return shape


def _layers(
    options: argparse.Namespace, d: int, n_classes: int, image_shape: tuple[int, ...] | None
) -> list[Layer]:
    """The layers that ``--layers`` or ``--hidden`` names."""
    hidden = _hidden(options)
    if options.layers is None:
        return [Dense(below, own) for below, own in pairwise((d, *hidden, n_classes))]
    try:
        return build_layers(options.layers, image_shape or (d,), n_classes)
    except InputError as error:
        flat = image_shape is None and needs_images(options.layers)
        raise InputError(f"--{error}{': --image-shape H,W,C' if flat else ''}") from None


def solver_of(
    options: argparse.Namespace,
    shape: tuple[int, int],
    n_classes: int,
    comm: Any = None,
    image_shape: tuple[int, ...] | None = None,
) -> AnySolver:
    """The solver for inputs of `shape`; options that were not given get the values that it chose.

    `choose_batches` must have been called for these `options`.

    `shape` is (n, d), n counting the samples of all ranks of `comm`. `image_shape` is that of an
    input, if it is an image.
    """
    full = takes_full_batches(options)
    layers = _layers(options, shape[1], n_classes, image_shape)
    for name, value in (FULL_BATCH_DEFAULTS if full else MINI_BATCH_DEFAULTS).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    problem = Problem(
        (shape[1], *(layer.d_out for layer in layers)),
        layers=layers,
        activation=options.activation,
        loss=options.loss,
        gamma=options.gamma,
        rho=options.rho if full else None,
        weight_penalty=options.weight_penalty,
        state_penalty=options.state_penalty,
        residual=options.algorithm == "resnet",
        reduction=options.reduction,
    )
    machine = {
        "device": options.device,
        "dtype": options.dtype,
        "n_threads": options.threads,
        "tile_rows": options.tile_rows,
        "precision": options.precision,
        "memory": options.memory,
        "folder": options.memory_folder,
        "comm": comm,
    }
    if full:
        return _full_batch_solver(options, problem, machine)
    return _mini_batch_solver(options, problem, machine, shape[0], image_shape)


def _full_batch_solver(
    options: argparse.Namespace, problem: Problem, machine: dict[str, Any]
) -> AnySolver:
    algorithm, more = ALGORITHMS[options.algorithm], {}
    if options.inner_steps is not None:
        if algorithm is not TwoSplitting:
            raise InputError(f"--inner-steps: {options.algorithm} solves every block in one step")
        more["inner_steps"] = options.inner_steps
    return algorithm(
        problem,
        alpha=options.alpha,
        alpha_weights=options.alpha_weights,
        loss_update=options.loss_update,
        acceleration=None if options.acceleration == "none" else options.acceleration,
        **machine,
        **more,
    )


def _mini_batch_solver(
    options: argparse.Namespace,
    problem: Problem,
    machine: dict[str, Any],
    n: int,
    image_shape: tuple[int, ...] | None,
) -> AnySolver:
    """The solver for n samples; what it chose goes into `options`, and so into config.json."""
    names = ("batch_size", "rho", *MINI_BATCH_OPTIONS)
    given = {name: getattr(options, name) for name in names}
    given = {name: value for name, value in given.items() if value not in (None, AUTO)}
    moves = _augmentation(options, image_shape)
    solver = MiniBatchThreeSplitting(problem, **given | {"augment": moves}, **machine)
    chosen = {**vars(solver), **asdict(solver.settings(n))}
    for name in set(names) - set(given):
        setattr(options, name, chosen[name])
    if options.epochs is None:
        options.epochs = solver.passes(n)
    return solver


def _augmentation(
    options: argparse.Namespace, image_shape: tuple[int, ...] | None
) -> Augmentation | None:
    """The augmentation that ``--augment`` names, for images of this shape."""
    if options.augment is None:
        return None
    if options.layers is None:
        raise InputError(
            "--augment needs --layers, such as --layers dense:128,dense:128, because other "
            "networks do not know of images"
        )
    if image_shape is None:
        raise InputError("--augment needs the shape of images: --image-shape H,W,C")
    return Augmentation(options.augment, image_shape)


def _default(option: str) -> str:
    value = FULL_BATCH_DEFAULTS[option]
    return f"default: {value:g}" if isinstance(value, float) else f"default: {value}"
