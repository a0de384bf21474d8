"""Losses: value, gradient and proximal operator of one sample; see `Loss`."""

from __future__ import annotations

from collections.abc import Callable

from fastbcd.kernels.losses.cross_entropy import cross_entropy
from fastbcd.kernels.losses.exponential import exponential
from fastbcd.kernels.losses.gamma import gamma
from fastbcd.kernels.losses.hinge import hinge
from fastbcd.kernels.losses.huber import huber
from fastbcd.kernels.losses.logistic import logistic, logistic_ovr
from fastbcd.kernels.losses.loss import TARGETS, Loss
from fastbcd.kernels.losses.poisson import poisson
from fastbcd.kernels.losses.quantile import absolute, quantile
from fastbcd.kernels.losses.squared import squared
from fastbcd.kernels.losses.tweedie import tweedie

LOSSES: dict[str, Callable[..., Loss]] = {
    "squared": squared,
    "logistic": logistic,
    "logistic_ovr": logistic_ovr,
    "hinge": hinge,
    "cross_entropy": cross_entropy,
    "exponential": exponential,
    "absolute": absolute,
    "huber": huber,
    "quantile": quantile,
    "poisson": poisson,
    "gamma": gamma,
    "tweedie": tweedie,
}

__all__ = [
    "LOSSES",
    "TARGETS",
    "Loss",
    "absolute",
    "cross_entropy",
    "exponential",
    "gamma",
    "hinge",
    "huber",
    "logistic",
    "logistic_ovr",
    "poisson",
    "quantile",
    "squared",
    "tweedie",
]
