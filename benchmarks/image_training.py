"""Networks of images in PyTorch, trained by Adam, Muon or SOAP.

`image_rivals.py` and `speedrun.py` use it.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path[:0] = [str(Path(__file__).resolve().parent / "gpu")]
from rivals import orthogonalised  # noqa: E402 -- it lies in the folder above

# Adam's share of the rate beside Muon and SOAP.
SHARE = {"muon": 0.1, "soap": 1.0, "adam": 1.0}
REFRESH = 10
LARGEST_FACTOR = 1024


class Muon:
    """Momentum .95 with Nesterov's step, then `orthogonalised`; one matrix."""

    def __init__(self, W: torch.Tensor) -> None:
        self.momentum = torch.zeros_like(W)

    def step(self, W: torch.Tensor, G: torch.Tensor, rate: torch.Tensor) -> None:
        """Move W."""
        self.momentum.lerp_(G, 0.05)
        Z = orthogonalised(G.lerp(self.momentum, 0.95).flatten(1)).to(W.dtype)
        W.sub_(rate * math.sqrt(max(1.0, len(Z) / Z.shape[1])) * Z.view_as(W))

    def refresh(self) -> None:
        """Do nothing."""


class Soap:
    """Adam in the eigenbases of Shampoo's two factors (Vyas and others, 2024); one matrix."""

    def __init__(self, W: torch.Tensor) -> None:
        shape = W.flatten(1).shape
        self.m, self.v = (torch.zeros(shape, device=W.device) for _ in range(2))
        sides = [d if d <= LARGEST_FACTOR else 0 for d in shape]
        self.factors = [torch.zeros((d, d), device=W.device) for d in sides]
        self.bases = [torch.eye(d, device=W.device) for d in sides]
        self.t, self.first = torch.zeros((), device=W.device), True

    def rotated(self, G: torch.Tensor, back: bool = False) -> torch.Tensor:
        """G in the eigenbases, or from there `back`."""
        left, right = self.bases
        if len(left):
            G = (left if back else left.mT) @ G
        return (G @ (right.mT if back else right)) if len(right) else G

    def step(self, W: torch.Tensor, G: torch.Tensor, rate: torch.Tensor) -> None:
        """Move W, and add the gradient to the factors."""
        G = G.flatten(1)
        self.t.add_(1.0)
        self.m.lerp_(G, 0.05)
        self.v.lerp_(self.rotated(G).square(), 0.05)
        size = (1.0 - 0.95**self.t).sqrt() / (1.0 - 0.95**self.t)
        Z = self.rotated(size * self.rotated(self.m) / (self.v.sqrt() + 1e-8), back=True)
        W.sub_(rate * Z.view_as(W))
        for factor, product in zip(self.factors, (lambda: G @ G.mT, lambda: G.mT @ G), strict=True):
            if len(factor):
                factor.lerp_(product(), 0.05)

    def refresh(self) -> None:
        """Renew the eigenbases: once exactly, then by a step of orthogonal iteration."""
        for factor, basis in zip(self.factors, self.bases, strict=True):
            if len(factor):
                new = torch.linalg.eigh(factor)[1] if self.first else factor @ basis
                basis.copy_(new if self.first else torch.linalg.qr(new)[0])
        self.first = False


@dataclass(frozen=True)
class Recipe:
    """How to train: the `method` of the matrices, a key of `SHARE`, and its rate and schedule.

    The schedule is ``"cosine"`` or ``"linear"``, to 0 over all passes.
    """

    method: str
    rate: float
    batch: int
    passes: int
    decay: float = 0.0
    schedule: str = "cosine"
    device: str = "cpu"

    def rate_at(self, share: float) -> float:
        """Return the rate after this share of all steps."""
        if self.schedule == "linear":
            return self.rate * (1.0 - share)
        return self.rate * 0.5 * (1.0 + math.cos(math.pi * share))


class Training:
    """One network and one optimiser; `one_pass` takes every full batch of a random order.

    X (n, d) are images of the shape `image`, (height, width, channels); `layers` are written as for
    ``fastbcd train --layers``.
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        layers: str,
        image: tuple[int, int, int],
        recipe: Recipe,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe, self.image, self.device = recipe, image, torch.device(recipe.device)
        self.network = network(layers, image, int(y.max()) + 1).to(self.device)
        self.X, self.y = self._images(X), torch.from_numpy(y).to(self.device)
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        kind = {"muon": Muon, "soap": Soap}.get(recipe.method)
        self.own = [(W, kind(W.data)) for W in weights[:-1]] if kind else []
        held = {id(W) for W, _ in self.own}
        rest = [p for p in self.network.parameters() if id(p) not in held]
        on_card = self.device.type == "cuda"
        self._rate = torch.zeros((), device=self.device)
        self._adam_rate = torch.zeros((), device=self.device)
        self.adam = torch.optim.Adam(rest, lr=self._adam_rate, fused=True, capturable=on_card)
        # Decoupled weight decay, of every matrix at the rate of its own optimiser.
        self.decayed = [(W.data, self._rate if id(W) in held else self._adam_rate) for W in weights]
        self._rows = torch.arange(recipe.batch, device=self.device)
        self.steps_a_pass = len(self.X) // recipe.batch
        self.taken, self._graph = 0, None

    def _images(self, X: Any) -> torch.Tensor:
        height, width, channels = self.image
        images = torch.from_numpy(X).view(-1, height, width, channels)
        return images.permute(0, 3, 1, 2).contiguous().to(self.device)

    def _step(self) -> None:
        X, y = self.X[self._rows], self.y[self._rows]
        loss = nn.functional.cross_entropy(self.network(X), y)
        parameters = list(self.network.parameters())
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            if p.grad is None:
                p.grad = torch.empty_like(p)
            p.grad.copy_(g)
        self._adam_rate.copy_(SHARE[self.recipe.method] * self._rate)
        self.adam.step()
        with torch.no_grad():
            for W, rate in self.decayed:
                W.mul_(1.0 - self.recipe.decay * rate)
            for W, own in self.own:
                own.step(W.data, W.grad, self._rate)

    def _replay(self) -> None:
        """Take a step, after two ordinary ones as one CUDA graph on a GPU."""
        if self.device.type == "cpu" or self.taken < 2:
            self._step()
            return
        if self._graph is None:
            torch.cuda.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._step()
        self._graph.replay()

    def one_pass(self) -> None:
        """Every sample once, but those that do not fill a batch."""
        order = torch.randperm(len(self.X)).to(self.device)
        batch, total = self.recipe.batch, self.recipe.passes * self.steps_a_pass
        for k in range(self.steps_a_pass):
            self._rows.copy_(order[k * batch : (k + 1) * batch])
            self._rate.fill_(self.recipe.rate_at(self.taken / total))
            self._replay()
            if self.taken % REFRESH == 0:
                for _, own in self.own:
                    own.refresh()
            self.taken += 1
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @torch.no_grad()
    def predict(self, X: Any) -> Any:
        """Return the classes (n,) of images X (n, d)."""
        classes = [self.network(part).argmax(1) for part in self._images(X).split(1000)]
        return torch.cat(classes).cpu().numpy()

    def lines(self, X_test: Any, y_test: Any) -> Iterator[dict[str, Any]]:
        """Train, and yield the seconds and the accuracy of each pass."""
        seconds = 0.0
        for k in range(1, self.recipe.passes + 1):
            start = time.perf_counter()
            self.one_pass()
            seconds += time.perf_counter() - start
            accuracy = float((self.predict(X_test) == y_test).mean())
            yield {"pass": k, "seconds": round(seconds, 2), "accuracy": round(accuracy, 5)}


def network(layers: str, image: tuple[int, int, int], n_classes: int) -> nn.Sequential:
    """The network of `layers` and a last layer, with ReLU and He's initial weights."""
    height, width, channels = image
    parts: list[nn.Module] = []
    inputs = 0  # of a dense layer after another one
    for layer in layers.split(","):
        kind, *numbers = layer.split(":")
        n = [int(number) for number in numbers]
        if kind == "conv":
            stride, padding = (n[2:3] or [1])[0], (n[3:4] or [0])[0]
            parts += [nn.Conv2d(channels, n[0], n[1], stride, padding), nn.ReLU()]
            channels = n[0]
            height, width = ((d + 2 * padding - n[1]) // stride + 1 for d in (height, width))
        elif kind == "maxpool":
            parts.append(nn.MaxPool2d(n[0]))
            height, width = height // n[0], width // n[0]
        elif kind == "dense":
            if not inputs:
                parts.append(nn.Flatten())
            parts += [nn.Linear(inputs or channels * height * width, n[0]), nn.ReLU()]
            inputs = n[0]
        else:
            raise ValueError(f"layer {layer!r} is none of conv, maxpool and dense")
    if not inputs:
        parts.append(nn.Flatten())
    parts.append(nn.Linear(inputs or channels * height * width, n_classes))
    for part in parts:
        if hasattr(part, "weight"):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    return nn.Sequential(*parts)
