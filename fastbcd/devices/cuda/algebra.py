"""Kernels of the GPU and products of cuBLAS, under the names that solvers call."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastbcd.devices.cuda.convolution import Convolutions
from fastbcd.devices.workspace import Buffer, Workspace, Workspaces
from fastbcd.kernels import cuda as kernels


class StepWork(Workspace):
    """Work array of `Kernels.step_weights`."""

    leading: Buffer


class Kernels(Convolutions):
    """Functions with the names and arguments of `fastbcd.kernels`, on arrays of the GPU.

    A single kernel of the processor may be several launches here.
    """

    def __init__(self, library: Any, work: Workspaces, failures: Any) -> None:
        super().__init__(library, work)
        # Instead of returning a status, it raises a flag of the device.
        self.settle_sizes = partial(kernels.settle_sizes, failures=failures)

    def __getattr__(self, name: str) -> Any:
        return getattr(kernels, name)

    def product(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A B + keep out``; see `fastbcd.kernels.product`."""
        self._library.gemm(out, A, B, scale, keep)

    def product_transposed(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A B^T + keep out``; see `fastbcd.kernels.product_transposed`."""
        self._library.gemm(out, A, B, scale, keep, transpose_B=True)

    def transposed_product(self, out: Any, A: Any, B: Any, scale: Any, keep: float) -> None:
        """``out = scale A^T B + keep out``; see `fastbcd.kernels.transposed_product`."""
        self._library.gemm(out, A, B, scale, keep, transpose_A=True)

    def affine(self, out: Any, V: Any, W: Any, bias: Any) -> None:
        """``out = V W^T + bias``; see `fastbcd.kernels.affine`."""
        kernels.residual_of_bias(out, None, bias)
        self.product_transposed(out, V, W, 1.0, 1.0)

    def step_weights(
        self, W: Any, M: Any, work: Any, directions: Any, size: Any, keep: float
    ) -> None:
        """``W = keep W + size (M - work directions)``; see `fastbcd.kernels.step_weights`.

        size may be an element on the GPU.
        """
        if hasattr(size, "reshape"):
            size = size.reshape(1)
        leading = None
        if len(directions):
            leading = self._work.of(StepWork).leading.array(W.shape, W.dtype)
            self._library.gemm(leading, work, directions)
        kernels.step_weights_along(W, M, leading, size, keep)

    def prox_weights(self, W: Any, penalty: Any, length: Any) -> None:
        """``W = argmin_Z r(Z) + 1/(2 length) |Z - W|^2``; see `fastbcd.kernels.prox_weights`."""
        kernels.prox_weights(W, penalty, length.reshape(1))

    # -- the V_l-block ------------------------------------------------------------------------

    def solve_state(self, V: Any, U: Any, W: Any, bias: Any, M: Any, residual: Any) -> None:
        """``V = C + (U - C^ W^T) M``, with C in V on entry; see `fastbcd.kernels.solve_state`."""
        self._linear_residual(residual, V, U, W, bias)
        self.product(V, residual, M, 1.0, 1.0)

    def solve_state_penalised(
        self, V: Any, C: Any, penalty: Any, U: Any, W: Any, bias: Any, H: Any, kappa: float,
        rho: Any, tolerance: float, max_sweeps: int, residual: Any, scaled_residual: Any,
        slopes: Any, work: Any, decrease: Any,
    ) -> None:  # fmt: skip
        """See `fastbcd.kernels.solve_state_penalised`; work (2, rows at once, d)."""
        self._linear_residual(residual, V, U, W, bias)
        self.product(scaled_residual, residual, W, 1.0, 0.0)
        kernels.state_slopes(slopes, C, V, scaled_residual, kappa, rho)
        gradients, rows = work
        kernels.coordinate_descent(
            V, penalty, H, slopes, 1.0, 0, tolerance, max_sweeps, gradients, rows, decrease
        )

    def state_decrease(
        self, decrease: Any, V: Any, old: Any, W: Any, kappa: float, rho: Any, work: Any
    ) -> None:
        """See `fastbcd.kernels.state_decrease`."""
        moved = kernels.displacement_of_states(old, V)
        self.product_transposed(work, old, W, 1.0, 0.0)
        through = kernels.squared_norm(work)
        kernels.add_state_decrease(decrease, moved, through, kappa, rho)

    def _linear_residual(self, out: Any, V: Any, U: Any, W: Any, bias: Any) -> None:
        """``out = U - V^ W^T``."""
        kernels.residual_of_bias(out, U, bias)
        self.product_transposed(out, V, W, -1.0, 1.0)
