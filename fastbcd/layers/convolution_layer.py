"""The base of convolutions, in groups of channels or not."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from fastbcd.devices.protocol import Device
from fastbcd.kernels import Penalty
from fastbcd.layers.convolution_states import ConvolutionStateBlock
from fastbcd.layers.images import ImageLayer


@dataclass(frozen=True)
class ConvolutionLayer(ImageLayer):
    """The common part of `Conv2d` and `GroupedConv2d`: sizes, the V-block, calls of the operator.

    Both have a field `steps`, the last one in the order of their arguments.
    """

    is_joined: ClassVar[bool] = True
    channels: int
    kernel: int | tuple[int, int]
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0

    @abstractmethod
    def operator(self, kernels: Any, W: Any) -> Any:
        """Return the operator with the weights W."""

    @property
    def weight_shape(self) -> tuple[int, int]:
        """``(channels, elements of a patch + 1)``."""
        return self.channels, self.fan_in + 1

    @property
    def multiplications(self) -> int:
        """``H' W' channels`` times the elements of a patch."""
        return self.d_out * self.fan_in

    def resized(self: Any, d_in: int, d_out: int) -> ConvolutionLayer:
        """Return a convolution of one pixel, with d_in and d_out channels."""
        layer: ConvolutionLayer = type(self)((1, 1, d_in), d_out, 1, steps=self.steps)
        return layer

    # -- full batches -------------------------------------------------------------------------

    def on(self, device: Device, W: Any) -> Any:
        """See `operator`."""
        return self.operator(device.kernels, W)

    def state_block(
        self: Any,
        device: Device,
        W: Any,
        penalty: Penalty,
        kappa: Any,
        rho: Any,
        measured: bool = False,
    ) -> ConvolutionStateBlock:
        """See `ConvolutionStateBlock`, which descends in all groups together."""
        return ConvolutionStateBlock(device, self.on(device, W), penalty, kappa, rho, self.steps)

    def by_rows(self, sums: Any) -> Any:
        """Return (n, channels): the sums of all positions of a channel."""
        return sums.reshape(len(sums), -1, self.channels).sum(axis=1)

    # -- mini-batches -------------------------------------------------------------------------

    def batch_apply(self, kernels: Any, U: Any, V: Any, W: Any) -> None:
        """``U = A(V; W)``."""
        self.operator(kernels, W).apply(U, V[:, :-1])

    def batch_adjoint(
        self, kernels: Any, D: Any, R: Any, V: Any, W: Any, scale: Any, keep: float
    ) -> None:
        """``D = scale A*(R; W) + keep D``."""
        self.operator(kernels, W).adjoint(D, R, scale, keep)

    def batch_project(self, kernels: Any, out: Any, V: Any, Q: Any) -> None:
        """Do nothing: `batch_sketch` projects the patches."""
