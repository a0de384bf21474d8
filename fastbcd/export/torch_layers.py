"""Layers that PyTorch lacks. `torch_source` copies those that a network uses into its file."""

from __future__ import annotations

import torch
from torch import nn


class Residual(nn.Module):
    """``skip(x) + layers(x)``; without a skip it is ``x + layers(x)``."""

    def __init__(self, *layers: nn.Module, skip: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.skip = nn.Identity() if skip is None else skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape that the layers make of x as the skip does."""
        return self.skip(x) + self.layers(x)


class Skip(nn.Module):
    """A part of x, with zeros around it: a slice, and numbers of zeros, for each axis but one."""

    def __init__(
        self, kept: tuple[tuple[int, int, int], ...], zeros: tuple[tuple[int, int], ...]
    ) -> None:
        super().__init__()
        self.kept = (..., *(slice(*part) for part in kept))
        self.zeros = [number for pair in reversed(zeros) for number in pair]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, d) or (n, C, H, W)."""
        return nn.functional.pad(x[self.kept], self.zeros)


class ChannelsFirst(nn.Module):
    """Rows that hold images with the channels last, as images with the channels first."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.shape = height, width, channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, H W C) to (n, C, H, W)."""
        return x.unflatten(-1, self.shape).movedim(-1, -3)


class ChannelsLast(nn.Module):
    """Images with the channels first, as rows that hold them with the channels last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, H, W) to (n, H W C)."""
        return x.movedim(-3, -1).flatten(-3)


class Polynomial(nn.Module):
    """``p_0 + p_1 x + ... + p_k x^k``, elementwise."""

    def __init__(self, *coefficients: float) -> None:
        super().__init__()
        self.coefficients = coefficients

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        value = torch.full_like(x, self.coefficients[-1])
        for coefficient in self.coefficients[-2::-1]:
            value = value * x + coefficient
        return value


class Simplex(nn.Module):
    """Probabilities of the squared loss: the nearest point with p >= 0 and sum p = 1."""

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(n, k) to (n, k)."""
        v = v - v.amax(-1, keepdim=True)
        counts = torch.arange(1, v.shape[-1] + 1, dtype=v.dtype, device=v.device)
        means = (v.sort(-1, descending=True).values.cumsum(-1) - 1) / counts
        return (v - means.amax(-1, keepdim=True)).clamp(min=0)


class OneAgainstRest(nn.Module):
    """Probabilities of the logistic losses and the exponential one: ``sigmoid(slope v) / sum``."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(n, k) to (n, k)."""
        return nn.functional.logsigmoid(self.slope * v).softmax(-1)


class EachLabel(nn.Module):
    """Probabilities of several labels with the exponential loss: ``sigmoid(slope v)``."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(n, k) to (n, k)."""
        return (self.slope * v).sigmoid()


class Exponential(nn.Module):
    """Numbers that a network with the Poisson loss predicts: ``exp(v)``."""

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """Any shape."""
        return v.exp()
