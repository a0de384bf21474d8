"""Checks of the parameters that a network of PyTorch is to be trained by."""

from __future__ import annotations

from fastbcd.errors import InputError
from fastbcd.export.support import library
from fastbcd.torch.chain import Chain


def check_parameters(chain: Chain) -> None:
    """`InputError` for parameters that are missing, frozen, shared, or not on the processor."""
    torch = library("torch")
    owners: dict[int, str] = {}
    known = {torch.float32, torch.float64}
    first = next(step for step in chain.steps if step.layer.has_weights)
    dtype = first.module.weight.dtype
    for step in chain.steps:
        own = dict(step.module.named_parameters())
        if step.layer.has_weights and set(own) != {"weight", "bias"}:
            raise InputError(
                f"{step.name} has the parameters {', '.join(own)}; a layer has weight and bias here"
            )
        for key, parameter in own.items():
            if parameter.device.type != "cpu":
                raise InputError(
                    f"{step.name} lies on {parameter.device}; bring the module to the processor "
                    "by module.cpu()"
                )
            if parameter.dtype not in known or parameter.dtype != dtype:
                raise InputError(
                    f"{step.name} has parameters of {parameter.dtype}, the first layer of {dtype}; "
                    "all must be float32, or all float64"
                )
            if not parameter.requires_grad:
                raise InputError(
                    f"{step.name} has a {key} with requires_grad=False, but all layers are trained"
                )
            if id(parameter) in owners:
                raise InputError(f"{step.name} shares its {key} with {owners[id(parameter)]}")
            owners[id(parameter)] = step.name
