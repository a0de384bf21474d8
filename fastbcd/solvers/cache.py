"""Data that a solver keeps with a state between iterations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastbcd.devices.protocol import Device
from fastbcd.layers import Layer, WeightBlock


@dataclass
class Cache:
    """Data that follow from the arrays of a state; a run can go on without them.

    Attributes
    ----------
    device : Device or None
        The device of the solver that made the rest.
    weight_blocks : dict
        The W_l-blocks by l, whose memory serves all iterations.
    gram_inputs : tuple
        X and the weights of its samples, whose Gram matrix the W_1-block holds; empty if none.
    curvatures : dict
        By l, the curvature c_l of the surrogate of ``act_l(V^_{l-1} W_l^T)`` (Algorithm 1).
    """

    device: Device | None = None
    weight_blocks: dict[int, WeightBlock] = field(default_factory=dict)
    gram_inputs: tuple[Any, ...] = ()
    curvatures: dict[int, Any] = field(default_factory=dict)

    def clear(self) -> None:
        """Forget everything, as is needed after a change of X *in place*."""
        vars(self).update(vars(Cache()))

    @contextmanager
    def weight_block(
        self, device: Device, layer: Layer, l: int, X: Any, sample_weight: Any
    ) -> Iterator[WeightBlock]:
        """The W_l-block with empty sums; for l = 1 a known Gram matrix of `X` is kept."""
        if self.device is not device:
            self.clear()  # it belongs to another solver, with its threads and memory
            self.device = device
        first = l == 1
        if l not in self.weight_blocks:
            self.weight_blocks[l] = layer.weight_block(device, same_inputs=first)
        block, inputs = self.weight_blocks[l], (X, sample_weight)
        block.start(keep_gram=first and self._holds_gram_of(inputs))
        if first:
            self.gram_inputs = inputs
        yield block
        block.finish()

    def _holds_gram_of(self, inputs: tuple[Any, Any]) -> bool:
        """Return whether the W_1-block holds the Gram matrix of these very arrays."""
        known = self.gram_inputs
        return len(known) > 0 and all(a is b for a, b in zip(known, inputs, strict=True))
