"""Activations: formulas with the global proximal operator of the U-block.

Each is a `Formula` with four scalar functions:

- ``value(u)``: ``act(u)``;
- ``prox(a, c, q)``: the *global* minimiser over u of
  ``(a - act(u))^2 + q (u - c)^2``, ``q > 0`` (Algorithms 2 and 3, U_l-block);
- ``derivative(u)``: ``act'(u)``; at a kink, which may lie at 0 only, the derivative of either
  side (Algorithm 1, and the subgradient of the certificate);
- ``curvature(v)``: a bound, over all z, of the second derivative of
  ``1/2 (v - act(z))^2``, infinite where there is none (Algorithm 1).
"""

from __future__ import annotations

from collections.abc import Callable

from fastbcd.kernels.activations.leaky_relu import leaky_relu
from fastbcd.kernels.activations.linear import linear
from fastbcd.kernels.activations.polynomial import polynomial
from fastbcd.kernels.activations.relu import relu
from fastbcd.kernels.activations.sigmoid import sigmoid
from fastbcd.kernels.activations.softplus import softplus
from fastbcd.kernels.activations.tanh import tanh
from fastbcd.kernels.formula import Formula

ACTIVATIONS: dict[str, Callable[..., Formula]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softplus": softplus,
    "polynomial": polynomial,
}

__all__ = [
    "ACTIVATIONS",
    "leaky_relu",
    "linear",
    "polynomial",
    "relu",
    "sigmoid",
    "softplus",
    "tanh",
]
