"""A layer type for tests: a fixed scaling without weights, in slow and obvious NumPy."""

from dataclasses import dataclass

import numpy as np

from fastbcd.layers import Layer


@dataclass(frozen=True)
class Scaling(Layer):
    """``U = s V``."""

    name = "scaling"
    d_in: int
    d_out: int
    s: float

    @property
    def weight_shape(self):
        return 0, 0

    @property
    def multiplications(self):
        return self.d_in

    def resized(self, d_in, d_out):
        return Scaling(d_in, d_out, self.s)

    def initial_weights(self, rng, deviation, bias, dtype):
        return np.empty((0, 0), dtype)

    def linear_part(self, V, W):
        return self.s * V

    def on(self, device, W):
        return ScalingOperator(self.s)

    def state_block(self, device, W, penalty, kappa, rho, measured=False):
        return ScalingStateBlock(self.s, penalty, kappa, rho)

    def weight_block(self, device, same_inputs):
        return NoWeights()

    def cross_sum(self, device):
        return NoWeights()

    def batch_apply(self, kernels, U, V, W):
        U[:] = self.s * V[:, :-1]

    def batch_adjoint(self, kernels, D, R, V, W, scale, keep):
        D[:] = scale * self.s * R + (keep * D if keep else 0.0)

    def batch_gradient(self, kernels, N, D, V, scale, keep):
        raise AssertionError("there are no weights")

    def gain(self, kernels, W):
        return abs(self.s)


class ScalingOperator:
    def __init__(self, s):
        self.s = s

    def apply(self, U, V):
        np.multiply(V, U.dtype.type(self.s), out=U)

    apply_linear = apply

    def adjoint(self, V, R):
        self.apply(V, R)


class ScalingStateBlock:
    """``argmin_v s(v) + kappa/2 (v - c)^2 + rho/2 (u - s v)^2``, number by number."""

    scale = 1.0

    def __init__(self, s, penalty, kappa, rho):
        self.operator, self.penalty = ScalingOperator(s), penalty
        self.s, self.kappa, self.rho = s, kappa, rho

    def center(self, tile, V):
        return np.empty_like(V)

    def objective(self, V, C, U, sample_weight):
        penalty = np.vectorize(self.penalty.value)(V.astype(np.float64))
        linear = U.astype(np.float64) - self.s * V
        terms = penalty + self.kappa / 2 * (V - C) ** 2 + self.rho / 2 * linear**2
        return float(np.sum(terms.sum(axis=1) * np.broadcast_to(sample_weight, len(V))))

    def solve(self, tile, V, C, U, decrease, *sample_weight):
        weight = sample_weight[0] if sample_weight else 1.0
        old, before = V.copy(), self.objective(V, C, U, weight)
        curvature = self.kappa + self.rho * self.s**2
        center = (self.kappa * C.astype(np.float64) + self.rho * self.s * U) / curvature
        V[:] = np.vectorize(self.penalty.prox)(center, 1.0 / curvature)
        if decrease is not None:
            moved = (V - old.astype(np.float64)) ** 2
            decrease += (
                before - self.objective(V, C, U, weight),
                float(np.sum(moved.sum(axis=1) * np.broadcast_to(weight, len(V)))),
            )


class NoWeights:
    def start(self, keep_gram):
        pass

    def add(self, *arguments):
        pass

    def multiply(self, *arguments):
        pass

    def divide_residuals(self, divisor):
        pass

    def solve(self, *arguments):
        pass

    def total(self):
        return np.empty((0, 0))

    def finish(self):
        pass
