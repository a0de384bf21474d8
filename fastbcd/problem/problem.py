"""The training problem: network, loss, penalties and couplings, without any data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from fastbcd.errors import InputError
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES, Formula, Loss, Penalty, linear
from fastbcd.layers import Dense, Layer, Skip
from fastbcd.layers.neighbours import check_neighbours
from fastbcd.support.parameters import (
    SMALLEST,
    choice,
    flag,
    parse,
    plain,
    require,
    require_integer,
)

T = TypeVar("T")

REDUCTIONS = ("mean", "sum")
PenaltySpec = str | Penalty | Sequence[str | Penalty]


@dataclass(frozen=True, init=False)
class Problem:
    """Objective of a feed-forward or residual network, with the states of its layers as variables.

    .. code-block:: text

        three-splitting: F = sum_i loss(V_L[i], Y[i]) + sum_l r_l(W_l) + sum_l s_l(V_l)
            + gamma/2 sum_l |V_l - S_l V_{l-1} - act_l(U_l)|^2
            + rho/2 sum_l |U_l - V^_{l-1} W_l^T|^2

        two-splitting: the same with U_l = V^_{l-1} W_l^T, plain layers only

    with ``V^ = [V, 1]``, ``V_0 = X``, ``act_L`` the identity and ``S_l = 1`` for residual
    layers, 0 for plain ones. With ``reduction="mean"`` all sums over samples (losses, couplings,
    state penalties) are divided by the number n of samples. With sample weights, all terms of
    sample i are multiplied by c_i, and the divisor is the sum of the weights.

    Parameters
    ----------
    widths : sequence of int, optional
        ``(d_0, ..., d_L)``: inputs, hidden layers, outputs; at least two numbers. Default: those of
        `layers`.
    activation : str, Formula, or one of these for each hidden layer, default="relu"
        Activation of the hidden layers: ``"relu"``, ``"leaky_relu[:SLOPE]"``, ``"linear"``,
        ``"sigmoid"``, ``"tanh"``, ``"softplus"``, ``"polynomial:P0,P1,..."``. That of pooling
        layers is linear in any case.
    loss : str or Loss, default="squared"
        ``"squared"``; for targets 0 and 1 also ``"logistic"`` (two classes),
        ``"logistic_ovr"``, ``"hinge"``, ``"exponential"`` (each class against the rest)
        and ``"cross_entropy:SMOOTHING"`` (softmax). For any numbers also ``"absolute"``,
        ``"huber:DELTA"`` and ``"quantile:LEVEL"``, or one level for each output,
        ``"quantile:0.1,0.9"``. Outputs are logarithms of means for counts and other
        numbers that are not negative, ``"poisson"`` and ``"tweedie:POWER"``, and for numbers above
        0, ``"gamma"``.
    gamma : float, default=1
        Weight of the couplings, > 0.
    rho : float, optional
        Weight of the linear coupling, > 0. Default: `gamma`.
    weight_penalty : str, Penalty, or one of these for each layer, default="none"
        ``r_l``: ``"none"``, ``"ridge:STRENGTH"``, ``"l1:STRENGTH"``,
        ``"elastic_net:STRENGTH,RATIO"``, ``"nonnegative"``, ``"box:LOW,HIGH"``. Biases are not
        penalised. A sequence of L, or a text with slashes, gives each layer its own:
        ``"l1:1e-4/none/ridge:1e-3"``.
    state_penalty : the same, default="none"
        ``s_l``, on the states ``V_1, ..., V_L``.
    residual : bool or sequence of bool, default=False
        ``S_1, ..., S_L``. True stands for all hidden layers that are as wide as the layer below,
        and for all hidden convolutions but the first layer. Where a flag joins different widths,
        S_l cuts V_{l-1} or puts zeros behind it: see `fastbcd.layers.Skip`. Where it joins images
        of different sizes, S_l keeps the middle pixel of each patch, and adds channels of zeros or
        drops some: see `fastbcd.layers.Conv2d`.
    reduction : {"mean", "sum"}, default="mean"
        ``"mean"`` makes gamma, alpha and the result independent of n;
        ``"sum"`` is the convention of the published experiments.
    layers : sequence of Layer, optional
        The L layers, where they are not all dense; see `fastbcd.layers`.

    Raises
    ------
    InputError
        The message names the parameter and what would be right.

    Notes
    -----
    Source: Zeng, Lau, Lin, Yao (ICML 2019), two- and three-splitting formulations, plain
    and residual; the published forms have ``rho = gamma`` and all layers of one kind.
    """

    widths: tuple[int, ...]
    activations: tuple[Formula, ...]
    """``act_1, ..., act_L``, the last one linear."""
    loss: Loss
    gamma: float
    rho: float
    weight_penalties: tuple[Penalty, ...]
    """``r_1, ..., r_L``."""
    state_penalties: tuple[Penalty, ...]
    """``s_1, ..., s_L``."""
    residual: tuple[bool, ...]
    """``S_1, ..., S_L``."""
    reduction: str
    layers: tuple[Layer, ...]
    """Layers 1, ..., L: the linear operators that lead from ``V_{l-1}`` to ``U_l``."""

    def __init__(
        self,
        widths: Sequence[int] | None = None,
        activation: str | Formula | Sequence[str | Formula] = "relu",
        loss: str | Loss = "squared",
        gamma: float = 1.0,
        rho: float | None = None,
        weight_penalty: PenaltySpec = "none",
        state_penalty: PenaltySpec = "none",
        residual: bool | Sequence[bool] = False,
        reduction: str = "mean",
        layers: Sequence[Layer] | None = None,
    ) -> None:
        all_layers = _layers(widths, layers)
        checked = (all_layers[0].d_in, *(layer.d_out for layer in all_layers))
        reduction = choice(reduction, REDUCTIONS, "reduction")
        gamma = require(gamma, "gamma", at_least=SMALLEST)
        fields: dict[str, object] = {
            "widths": checked,
            "activations": (*_activations(activation, all_layers[:-1]), linear()),
            "loss": _formula(loss, LOSSES, Loss, "loss"),
            "gamma": gamma,
            "rho": gamma if rho is None else require(rho, "rho", at_least=SMALLEST),
            "weight_penalties": _penalties(weight_penalty, len(checked) - 1, "weight_penalty"),
            "state_penalties": _penalties(state_penalty, len(checked) - 1, "state_penalty"),
            "residual": _residual_layers(all_layers, residual),
            "reduction": reduction,
            "layers": all_layers,
        }
        _check_outputs(fields["loss"], checked[-1])
        for field, value in fields.items():
            object.__setattr__(self, field, value)

    @cached_property
    def skips(self) -> tuple[Skip | None, ...]:
        """``S_1, ..., S_L`` as operators; None for a plain layer."""
        pieces = zip(self.residual, self.layers, strict=True)
        return tuple(layer.skip if residual else None for residual, layer in pieces)

    def narrowed(self, widest: int) -> Problem:
        """The same problem, no layer being wider than `widest`.

        Layers without weights get inputs as wide as their outputs.
        """
        narrow = copy(self)
        vars(narrow).pop("skips", None)  # those of the wider layers
        narrowed = [min(d, widest) for d in self.widths]
        for l in range(self.n_layers, 0, -1):
            if not self.layers[l - 1].has_weights:
                narrowed[l - 1] = narrowed[l]
        widths = tuple(narrowed)
        layers = zip(self.layers, pairwise(widths), strict=True)
        object.__setattr__(narrow, "widths", widths)
        object.__setattr__(narrow, "layers", tuple(l.resized(*sizes) for l, sizes in layers))
        return narrow

    @property
    def n_layers(self) -> int:
        """The number L of weight matrices."""
        return len(self.widths) - 1

    def per_sample(self, n: float) -> float:
        """Factor of a sample's terms in F: 1/n, or 1 with ``reduction="sum"``.

        `n` is the number of samples, or the sum of their weights.
        """
        return 1.0 / n if self.reduction == "mean" else 1.0


def _formula(given: Any, known: Mapping[str, Callable[..., T]], kind: type[T], argument: str) -> T:
    """Build the formula that a text names in `known`; return `given` itself if it is of `kind`."""
    formula = plain(given)
    if isinstance(formula, str):
        formula = parse(formula, known, argument)
    if not isinstance(formula, kind):
        raise InputError(f"{argument} must be a name or a {kind.__name__}, got {formula!r}")
    return formula


def _activations(given: Any, hidden: Sequence[Layer]) -> list[Formula]:
    """Return the activations of the `hidden` layers; that of a pooling layer is linear."""
    given = plain(given)
    if not isinstance(given, list | tuple):
        formula = _formula(given, ACTIVATIONS, Formula, "activation")
        return [formula if layer.has_activation else linear() for layer in hidden]
    if len(given) != len(hidden):
        raise InputError(
            f"activation must be one name or one for each of {len(hidden)} hidden layers, got "
            f"{len(given)}"
        )
    formulas = [_formula(each, ACTIVATIONS, Formula, "activation") for each in given]
    for l, (layer, formula) in enumerate(zip(hidden, formulas, strict=True), start=1):
        if not layer.has_activation and formula.name != "linear":
            raise InputError(
                f"activation: layer {l} is a {layer.name}, which is linear, got {formula.name!r}"
            )
    return formulas


def _check_outputs(loss: Any, k: int) -> None:
    """`InputError` if `loss` is for another number of outputs than k."""
    if loss.n_outputs not in (None, k):
        raise InputError(f"loss: {loss!r} is for {loss.n_outputs} outputs, but the network has {k}")


def _penalties(given: PenaltySpec, n_layers: int, argument: str) -> tuple[Penalty, ...]:
    """Return one penalty for each layer."""
    given = plain(given)
    if isinstance(given, Penalty):
        parts: Sequence[str | Penalty] = [given]
    elif isinstance(given, str):
        parts = [part.strip() for part in given.split("/")]
        if "" in parts:
            raise InputError(
                f"{argument}: a penalty is empty in {given!r}; write none for no penalty"
            )
    elif isinstance(given, Sequence | np.ndarray):
        parts = list(given)
    else:
        raise InputError(f"{argument} must be a name or a Penalty, got {given!r}")
    penalties = [_formula(part, PENALTIES, Penalty, argument) for part in parts]
    if len(penalties) not in (1, n_layers):
        raise InputError(
            f"{argument} must be one penalty or one for each of {n_layers} layers, "
            f"got {len(penalties)}"
        )
    return tuple(penalties) * (n_layers // len(penalties))


def _residual_layers(layers: Sequence[Layer], residual: bool | Sequence[bool]) -> tuple[bool, ...]:
    """Return ``S_1, ..., S_L`` as flags."""
    if isinstance(residual, str) or not isinstance(plain(residual), Iterable):
        wanted = flag(residual, "residual")
        flags = [
            wanted and (layer.d_in == layer.d_out or (layer.is_joined and l > 0))
            for l, layer in enumerate(layers[:-1])
        ]
        if wanted and not any(flags):
            widths = (layers[0].d_in, *(layer.d_out for layer in layers))
            raise InputError(
                f"residual: no hidden layer is as wide as the layer below it in {widths}, and no "
                "convolution follows another layer; give two consecutive layers the same width"
            )
        return (*flags, False)
    flags = [flag(each, "residual") for each in plain(residual)]
    if len(flags) != len(layers):
        raise InputError(
            f"residual must have one flag for each of {len(layers)} layers, got {len(flags)}"
        )
    return tuple(flags)


def _layers(widths: Sequence[int] | None, given: Sequence[Layer] | None) -> tuple[Layer, ...]:
    """Return the layers, dense ones where none are given; `InputError` where one does not fit."""
    layers = () if given is None else tuple(given)
    for l, layer in enumerate(layers, start=1):
        if not isinstance(layer, Layer):
            raise InputError(f"layers: number {l} must be a Layer, got {layer!r}")
    check_neighbours(layers)
    if widths is None and not layers:
        raise InputError("widths: give the widths of the network, or its layers")
    if widths is None:
        return layers
    checked = _widths(widths)
    if given is None:
        return tuple(Dense(*sizes) for sizes in pairwise(checked))
    if len(layers) != len(checked) - 1:
        n = len(checked) - 1
        raise InputError(f"layers must be {n} for widths {checked}, got {len(layers)}")
    for l, (layer, sizes) in enumerate(zip(layers, pairwise(checked), strict=True), start=1):
        if (layer.d_in, layer.d_out) != sizes:
            raise InputError(
                f"layers: number {l} leads from {layer.d_in} to {layer.d_out}, but widths from "
                f"{sizes[0]} to {sizes[1]}"
            )
    return layers


def _widths(given: Sequence[int]) -> tuple[int, ...]:
    """Return the widths as integers, two or more of them."""
    if isinstance(given, str) or not isinstance(plain(given), Iterable):
        raise InputError(f"widths must be a sequence of integers, got {given!r}")
    widths = tuple(require_integer(d, "widths", at_least=1) for d in given)
    if len(widths) < 2:
        raise InputError(f"widths needs inputs and outputs at least, got {widths}")
    return widths
