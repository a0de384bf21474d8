"""The V_l-block below a dense layer, prepared once for all samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastbcd.devices.protocol import Device
from fastbcd.devices.tiles import Tile
from fastbcd.devices.workspace import Buffer, Workspace
from fastbcd.kernels import Penalty
from fastbcd.layers.dense_operator import DenseOperator

# Most sweeps of coordinate descent over one sample: fewer than over a row of W, for there are many
# more samples than rows.
MAX_SWEEPS = 200


class PreparedBlock(Workspace):
    """Memory of the device for the matrices that all samples of a V-block share."""

    M: Buffer
    hessian: Buffer
    gram: Buffer


class StateWork(Workspace):
    """Work arrays of a tile."""

    center: Buffer
    residual: Buffer
    gram: Buffer
    scaled_residual: Buffer
    slopes: Buffer
    descent: Buffer


class DenseStateBlock:
    """``V = argmin_V s(V) + kappa/2 |V - C|^2 + rho/2 |U - V^ W^T|^2``.

    .. code-block:: text

        s a ridge    V = C + (U - C^ W^T) M,  M = W (k I + W^T W)^-1,  k = kappa / rho
        any other s  coordinate descent with the Hessian kappa I + rho W^T W, which samples share

    Parameters
    ----------
    device : Device
    operator : DenseOperator
        The layer above the states, with its W and bias.
    penalty : Penalty
        s.
    kappa : float, or (d_in,) array
        > 0; an array has one number for each column of V.
    rho : float, or array (1,) of a GPU
        > 0.
    measured : bool
        `solve` will be asked for decreases.

    Notes
    -----
    This is the V_l-block of Algorithms 2 and 3. M comes from the smaller of ``k I + W^T W`` and
    ``k I + W W^T``. M and the Hessian are valid until the device prepares its next block.
    """

    def __init__(
        self,
        device: Device,
        operator: DenseOperator,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        measured: bool,
    ) -> None:
        self.operator, self.penalty, self.kappa, self.rho = operator, penalty, kappa, rho
        self._device, self._measured = device, measured
        self._ratio: Any = None
        self._more: Any = None
        ridge, columns = penalty.ridge, None if np.ndim(kappa) == 0 else kappa
        # The ridge and the term of C merge: kappa/2 |v - C|^2 + ridge/2 |v|^2.
        self.scale = 1.0 if ridge is None else kappa / (kappa + ridge)
        self.kappa = kappa if columns is None else float(columns.min())
        dtype = operator.bias.dtype
        (d_out, d_in), prepared = operator.W.shape, device.work.of(PreparedBlock)
        W = device.pool.borrow((d_out, d_in))
        W[...] = operator.W
        if ridge is None:
            self._hessian = prepared.hessian.array((d_in, d_in), np.float64)
            device.solves.state_hessian(self._hessian, W, self.kappa, rho)
        else:
            self.kappa += ridge
            self._M = prepared.M.array((d_out, d_in), dtype)
            # The decrease has |D W^T|^2, which is also <D^T D, W^T W>: with a symmetric product
            # this takes d_in^2 / (2 d_in d_out) of the operations.
            self._gram: Any = None
            if measured and device.solves.symmetric_products and d_in < 2 * d_out:
                self._gram = prepared.gram.array((d_in, d_in), np.float64)
                device.solves.state_hessian(self._gram, W, 0.0, 1.0)
        if columns is None:
            if ridge is not None:
                device.solves.state_operator(self._M, W, self.kappa / rho)
        else:
            self._prepare_columns(W, columns, dtype)
        device.pool.give_back(W)

    def _prepare_columns(self, W: Any, columns: Any, dtype: Any) -> None:
        """Prepare for K = diag(columns) in place of kappa I; least is its smallest element.

        .. code-block:: text

            s a ridge    M = B (I/rho + B^T B)^-1 K^-1/2,  B = W K^-1/2,  K with the ridge added
            any other s  least/2 (v - E)^2 with E = v' + K/least (C - v') has the slope of
                         K/2 (v - C)^2 at the old v'; the Hessian's diagonal gets K - least more
        """
        device, least, ridge = self._device, columns.min(), self.penalty.ridge
        if ridge is None:
            diagonal = self._hessian.reshape(-1)[:: len(columns) + 1]
            diagonal += device.array(columns - least, np.float64)
            self._ratio = device.array(columns / least, dtype)
        else:
            roots = 1.0 / np.sqrt(columns + ridge)
            W *= device.array(roots, np.float64)
            device.solves.state_operator(self._M, W, 1.0 / self.rho)
            self._M *= device.array(roots, dtype)
        self._more = device.array(np.sqrt(columns - least), dtype)

    def center(self, tile: Tile, V: Any) -> Any:
        """Return memory for C, which is V itself unless the solve still needs the old V."""
        if self.penalty.ridge is None or self._measured:
            return tile.work.of(StateWork).center.array(V.shape, V.dtype)
        return V

    def solve(self, tile: Tile, V: Any, C: Any, U: Any, decrease: Any, *sample_weight: Any) -> None:
        """Replace V of a tile by the minimiser; see `fastbcd.layers.StateBlock`."""
        kernels, work = self._device.kernels, tile.work.of(StateWork)
        W, bias = self.operator.W, self.operator.bias
        residual = work.residual.array(U.shape, V.dtype)
        if self.penalty.ridge is None:
            if self._ratio is not None:
                C -= V
                C *= self._ratio
                C += V
            rows = self._device.solves.rows_at_once(len(V))
            kernels.solve_state_penalised(
                V,
                C,
                self.penalty,
                U,
                W,
                bias,
                self._hessian,
                self.kappa,
                self.rho,
                2.0 * float(np.finfo(V.dtype).eps),
                MAX_SWEEPS,
                residual,
                work.scaled_residual.array(V.shape, V.dtype),
                work.slopes.array(V.shape, np.float64),
                work.descent.array((2, *rows, V.shape[1]), np.float64),
                decrease,
                *sample_weight,
            )
            return
        kernels.solve_state(C, U, W, bias, self._M, residual)
        if decrease is not None:
            self._add_decrease(decrease, tile, C, V, residual, *sample_weight)
        if C is not V:
            V[...] = C

    def _add_decrease(
        self, decrease: Any, tile: Tile, C: Any, V: Any, residual: Any, *sample_weight: Any
    ) -> None:
        """Add to `decrease` those from V' to the minimiser C; replace V' in V by ``V' - C``."""
        kernels, W, gram = self._device.kernels, self.operator.W, self._gram
        kappa, rho = self.kappa, self.rho
        if gram is None or sample_weight:
            kernels.state_decrease(decrease, C, V, W, kappa, rho, residual, *sample_weight)
        else:
            work = tile.work.of(StateWork).gram.array(gram.shape, V.dtype)
            kernels.state_decrease_by_gram(decrease, C, V, gram, kappa, rho, work)
        if self._more is not None:
            V *= self._more
            decrease[0] += 0.5 * kernels.squared_norm(V, *sample_weight)
