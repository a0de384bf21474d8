"""Adam and Muon in PyTorch as fast as a card runs them: every step is one CUDA graph.

Networks are stacked: each tensor has a leading axis of networks, products are batched, and so are
Newton-Schulz iterations; one network is a stack of one. Inputs, labels, order of samples and the
rate of the moment lie on the card, and a step gathers its own samples, so that the host does
nothing but launch graphs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

WIDTHS = (784, 500, 500, 10)


@dataclass(frozen=True)
class Setting:
    """A trial: the optimiser, its peak rate, samples in a batch, passes of the cosine schedule."""

    optimizer: str
    rate: float
    batch: int
    passes: int


def orthogonalised(G: torch.Tensor) -> torch.Tensor:
    """U V^T of ``G = U S V^T``, by five Newton-Schulz steps (Jordan, 2024), on a GPU in bf16."""
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G.bfloat16() if G.is_cuda else G
    flipped = X.shape[-2] > X.shape[-1]
    if flipped:
        X = X.mT
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if flipped else X


class Training:
    """Stacked networks that train by one setting; ``one_pass`` is a pass over all samples."""

    def __init__(
        self, X: torch.Tensor, y: torch.Tensor, setting: Setting, networks: int = 1, seed: int = 0
    ) -> None:
        self.X, self.y, self.setting, self.networks = X, y, setting, networks
        self._random = torch.Generator("cuda").manual_seed(seed)
        self.W, self.b = [], []
        for d_in, d_out in itertools.pairwise(WIDTHS):
            W = torch.empty((networks, d_in, d_out), device="cuda")
            W.normal_(0.0, math.sqrt(2.0 / d_in), generator=self._random)
            self.W.append(W.requires_grad_())
            self.b.append(torch.zeros((networks, 1, d_out), device="cuda", requires_grad=True))
        self.steps_a_pass = len(X) // setting.batch
        self.taken = 0
        # All that a step reads and that changes from step to step lies at a fixed place.
        self._rows = torch.zeros((networks, setting.batch), dtype=torch.int64, device="cuda")
        self._rate = torch.zeros((), device="cuda")
        by_muon = self.W[:-1] if setting.optimizer == "muon" else []
        by_adam = [p for p in (*self.W, *self.b) if not any(p is q for q in by_muon)]
        # Beside Muon, Adam's rate for what is no hidden matrix is a fixed share of Muon's.
        self._share = 0.1 if by_muon else 1.0
        self._muon = [(W, torch.zeros_like(W)) for W in by_muon]
        self._adam_rate = torch.zeros((), device="cuda")
        self._adam = torch.optim.Adam(by_adam, lr=self._adam_rate, fused=True, capturable=True)
        self._graph: Any = None

    def _forward(self, X: torch.Tensor) -> torch.Tensor:
        for l, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            X = torch.baddbmm(b, X, W)
            if l + 1 < len(self.W):
                X = torch.relu(X)
        return X

    def _step(self) -> None:
        X, y = self.X[self._rows], self.y[self._rows]
        loss = nn.functional.cross_entropy(self._forward(X).flatten(0, 1), y.flatten())
        # A mean over all networks; each has the gradient of its own mean.
        gradients = torch.autograd.grad(loss * self.networks, (*self.W, *self.b))
        for p, g in zip((*self.W, *self.b), gradients, strict=True):
            p.grad = g.contiguous()  # as the fused update asks
        self._adam_rate.copy_(self._share * self._rate)
        self._adam.step()
        with torch.no_grad():
            for W, momentum in self._muon:
                momentum.lerp_(W.grad, 0.05)
                G = orthogonalised(W.grad.lerp(momentum, 0.95))
                W.sub_(self._rate * math.sqrt(max(1.0, W.shape[-1] / W.shape[-2])) * G)

    def _capture(self) -> None:
        before = [p.detach().clone() for p in (*self.W, *self.b)]
        moments = [momentum.clone() for _, momentum in self._muon]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step()
        with torch.no_grad():
            for p, old in zip((*self.W, *self.b), before, strict=True):
                p.copy_(old)
            for (_, momentum), old in zip(self._muon, moments, strict=True):
                momentum.copy_(old)
            for state in self._adam.state.values():
                for value in state.values():
                    value.zero_()

    def one_pass(self) -> None:
        """Every sample once (but those that do not fill a batch); waits for the card."""
        if self._graph is None:
            self._capture()
        batch, steps = self.setting.batch, self.steps_a_pass
        orders = torch.stack(
            [
                torch.randperm(len(self.X), device="cuda", generator=self._random)
                for _ in range(self.networks)
            ]
        )
        rows = orders[:, : steps * batch].view(self.networks, steps, batch)
        total = self.setting.passes * steps
        t = torch.arange(self.taken, self.taken + steps, device="cuda")
        rates = self.setting.rate * 0.5 * (1.0 + torch.cos(math.pi * t / total))
        for k in range(steps):
            self._rows.copy_(rows[:, k])
            self._rate.copy_(rates[k])
            self._graph.replay()
        self.taken += steps
        torch.cuda.synchronize()

    @torch.no_grad()
    def accuracy(self, X: torch.Tensor, y: torch.Tensor) -> float:
        """Share of right answers of the first network."""
        outputs = X
        for l, (W, b) in enumerate(zip(self.W, self.b, strict=True)):
            outputs = torch.addmm(b[0], outputs, W[0])
            if l + 1 < len(self.W):
                outputs = torch.relu(outputs)
        return float((outputs.argmax(1) == y).float().mean())
