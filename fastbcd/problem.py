"""The training problem: network, loss, penalties and couplings; no data, no arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fastbcd.errors import InputError
from fastbcd.kernels import ACTIVATIONS, LOSSES, PENALTIES, Formula, Loss, Penalty, linear
from fastbcd.specification import SMALLEST, parse, require, require_integer

REDUCTIONS = ("mean", "sum")


class Weights(NamedTuple):
    """Effective weights of the objective's terms for n samples; see `Problem.weights`."""

    loss: float
    gamma: float
    rho: float
    per_sample: float
    """What one sample counts: 1/n for the mean, 1 for the sum."""


@dataclass(frozen=True, init=False)
class Problem:
    r"""Three-splitting objective of a feed-forward or residual network.

    .. code-block:: text

        F = sum_i loss(V_L[i], Y[i]) + sum_l r(W_l)
            + gamma/2 sum_l |V_l - S_l V_{l-1} - act_l(U_l)|^2
            + rho/2 sum_l |U_l - V^_{l-1} W_l^T|^2

    with ``V^ = [V, 1]``, ``V_0 = X``, ``act_L`` the identity and ``S_l = 1`` for residual
    layers, 0 for plain ones. With
    ``reduction="mean"`` everything summed over samples is divided by their number n.

    Parameters
    ----------
    widths : sequence of int
        ``(d_0, ..., d_L)``: inputs, hidden layers, outputs; at least two numbers.
    activation : str or Formula, default="relu"
        Of the hidden layers: ``"relu"``, ``"leaky_relu[:SLOPE]"``, ``"linear"``,
        ``"sigmoid"``, ``"tanh"``, ``"softplus"``, ``"polynomial:P0,P1,..."``.
    loss : str or Loss, default="squared"
        ``"squared"``; for targets 0 and 1 also ``"logistic"`` (two classes),
        ``"logistic_ovr"``, ``"hinge"``, ``"exponential"`` (each class against the rest)
        and ``"cross_entropy"`` (softmax).
    gamma : float, default=1
        Weight of the couplings, > 0.
    rho : float, optional
        Weight of the linear coupling where it differs from `gamma`, > 0.
    weight_penalty : str or Penalty, default="none"
        ``r``: ``"none"``, ``"ridge:STRENGTH"``, ``"l1:STRENGTH"``,
        ``"elastic_net:STRENGTH,RATIO"``, ``"nonnegative"``, ``"box:LOW,HIGH"``; biases
        are not penalised.
    residual : bool or sequence of bool, default=False
        ``S_1, ..., S_L``, or True for all hidden layers as wide as the layer below.
    reduction : {"mean", "sum"}, default="mean"
        ``"mean"`` makes gamma, alpha and the result independent of n;
        ``"sum"`` is the convention of the published experiments.

    Raises
    ------
    InputError
        Naming the parameter and what would be right.

    Notes
    -----
    Source: Zeng, Lau, Lin, Yao (ICML 2019), three-splitting formulations, plain and
    residual; the published forms have ``rho = gamma`` and all layers of one kind.
    """

    widths: tuple[int, ...]
    activations: tuple[Formula, ...]
    """``act_1, ..., act_L``, the last one linear."""
    loss: Loss
    gamma: float
    rho: float
    weight_penalty: Penalty
    residual: tuple[bool, ...]
    """``S_1, ..., S_L``."""
    reduction: str

    def __init__(
        self,
        widths: Sequence[int],
        activation: str | Formula = "relu",
        loss: str | Loss = "squared",
        gamma: float = 1.0,
        rho: float | None = None,
        weight_penalty: str | Penalty = "none",
        residual: bool | Sequence[bool] = False,
        reduction: str = "mean",
    ) -> None:
        if isinstance(widths, str) or not isinstance(widths, Iterable):
            raise InputError(f"widths must be a sequence of integers, got {widths!r}")
        checked = tuple(require_integer(d, "widths", at_least=1) for d in widths)
        if len(checked) < 2:
            raise InputError(f"widths needs inputs and outputs at least, got {checked}")
        if reduction not in REDUCTIONS:
            raise InputError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
        if isinstance(activation, str):
            activation = parse(activation, ACTIVATIONS, "activation")
        if isinstance(loss, str):
            loss = parse(loss, LOSSES, "loss")
        if isinstance(weight_penalty, str):
            weight_penalty = parse(weight_penalty, PENALTIES, "weight_penalty")
        checks: tuple[tuple[object, type, str], ...] = (
            (activation, Formula, "activation"),
            (loss, Loss, "loss"),
            (weight_penalty, Penalty, "weight_penalty"),
        )
        for given, kind, name in checks:
            if not isinstance(given, kind):
                raise InputError(f"{name} must be a name or a {kind.__name__}, got {given!r}")
        gamma = require(gamma, "gamma", at_least=SMALLEST)
        fields: dict[str, object] = {
            "widths": checked,
            "activations": (activation,) * (len(checked) - 2) + (linear(),),
            "loss": loss,
            "gamma": gamma,
            "rho": gamma if rho is None else require(rho, "rho", at_least=SMALLEST),
            "weight_penalty": weight_penalty,
            "residual": _residual_layers(checked, residual),
            "reduction": reduction,
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)

    @property
    def n_layers(self) -> int:
        """L, the number of weight matrices."""
        return len(self.widths) - 1

    def weights(self, n: int) -> Weights:
        """Effective weights for n samples: the one place that knows about `reduction`."""
        unit = 1.0 / n if self.reduction == "mean" else 1.0
        return Weights(loss=unit, gamma=self.gamma * unit, rho=self.rho * unit, per_sample=unit)


def _residual_layers(widths: tuple[int, ...], residual: bool | Sequence[bool]) -> tuple[bool, ...]:
    """``S_1, ..., S_L``; `InputError` that names a residual layer whose widths disagree."""
    below, own = widths[:-1], widths[1:]
    if isinstance(residual, bool):
        flags = [residual and d == e for d, e in zip(below[:-1], own[:-1], strict=True)] + [False]
        if residual and not any(flags):
            raise InputError(
                f"residual: no hidden layer is as wide as the layer below it in {widths}; "
                "give two consecutive layers the same width"
            )
        return tuple(flags)
    if len(residual) != len(own):
        raise InputError(
            f"residual must have one flag for each of {len(own)} layers, got {len(residual)}"
        )
    for l, (flag, d, e) in enumerate(zip(residual, below, own, strict=True), start=1):
        if flag and d != e:
            raise InputError(
                f"residual: layer {l} has width {e}, but the layer below it has {d}; "
                "a residual layer needs equal widths"
            )
    return tuple(bool(flag) for flag in residual)
