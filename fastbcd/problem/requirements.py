"""Checks that a problem meets the requirements of a solver, an update or a certificate."""

from __future__ import annotations

from itertools import pairwise

from fastbcd.devices.protocol import Device
from fastbcd.errors import InputError
from fastbcd.kernels import Formula
from fastbcd.problem.problem import Problem
from fastbcd.support.parameters import choice

LOSS_UPDATES = ("prox", "prox-linear")


def check_layers(problem: Problem, device: Device) -> None:
    """Raise an `InputError` if a layer does not run on `device` or fit the layer below it."""
    for below, layer in pairwise((None, *problem.layers)):
        assert layer is not None
        layer.check(device, below)


def check_exact_products(device: Device) -> None:
    """Raise an `InputError` if only batches have the precision that `device` was asked for."""
    if device.batches.kernels is not device.kernels:
        raise InputError(
            "precision: bf16 on the processor is for mini-batches, because F of full batches falls "
            "by less than this rounding; leave it out, or use MiniBatchThreeSplitting"
        )


def check_loss_update(loss_update: str, problem: Problem, alpha: float) -> str:
    """Return `loss_update`, the kind of V_L-update; prox-linear needs the conditions of Theorem 2.

    These are a loss of `problem` whose gradient is Lipschitz continuous, with a constant L, and
    ``alpha > max(0, (L - gamma) / 2)``.
    """
    loss_update = choice(loss_update, LOSS_UPDATES, "loss_update")
    if loss_update == "prox-linear":
        lipschitz = problem.loss.lipschitz
        if lipschitz is None:
            raise InputError(
                f"loss_update: prox-linear needs a loss whose gradient is Lipschitz continuous, "
                f"which that of {problem.loss.name} is not; use prox"
            )
        least = max(0.0, (lipschitz - problem.gamma) / 2)
        if not alpha > least:
            raise InputError(
                f"alpha must be above {least:g} = max(0, (L - gamma) / 2) for prox-linear updates "
                f"of the {problem.loss.name} loss (L = {lipschitz:g}), got {alpha:g}"
            )
    return loss_update


def check_formula(formula: Formula, function: str, kind: str, user: str) -> None:
    """Raise an `InputError` if `formula`, of this `kind`, lacks a `function` that `user` needs.

    Some functions of a formula that a user writes are optional.
    """
    if function not in formula.functions:
        raise InputError(
            f"{kind}: {formula.name} has no function {function!r}, which {user} needs; see "
            "CONTRIBUTING for what it must compute"
        )


def check_output_penalty(problem: Problem, loss_update: str) -> None:
    """Check that the loss has the proximal operator that a penalty on output states needs.

    A ridge needs none, nor does a prox-linear `loss_update`.
    """
    if problem.state_penalties[-1].ridge is None and loss_update == "prox":
        check_formula(problem.loss, "row_prox_penalised", "loss", "a penalty on output states")


def check_subgradient(problem: Problem) -> None:
    """Check that all formulas of `problem` have what a subgradient of the objective needs."""
    user = "the subgradient of the certificate"
    for activation in problem.activations:
        check_formula(activation, "derivative", "activation", user)
    for penalty in problem.weight_penalties:
        check_formula(penalty, "subdifferential", "weight_penalty", user)
    for penalty in problem.state_penalties:
        check_formula(penalty, "subdifferential", "state_penalty", user)
    check_formula(problem.loss, "row_subdifferential", "loss", user)
